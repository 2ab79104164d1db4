//! An experiment, from the YAML as written to the values that the trainer uses. Owns the schema, its checks, overrides and
//! estimates; where a run keeps its copy is the business of `run`.

mod check;
mod data;
mod estimate;
#[cfg(test)]
mod example;
mod experiment;
mod hostile;
mod hugging_face;
mod keys;
mod load;
mod model;
mod overrides;
mod rules;
mod schema;
mod shapes;
mod size;
mod trace;
mod train;
mod validate;

pub use data::{ArithmeticConfig, DataConfig, OperatorShares, TokenizerConfig};
pub use estimate::{Estimate, ParameterCount};
pub use experiment::{DeviceChoice, Experiment, Precision};
pub use hugging_face::{HuggingFaceConfig, PackedScale, TokenIds};
pub use keys::{SchemaKey, schema_keys};
pub use load::{Resolved, load, resolve};
pub use model::{
    Activation, ActivationQuantizer, Attention, BitLinearConfig, LatentAttention, ModelConfig, NormPlacement, WeightQuantizer,
};
pub use overrides::Overrides;
pub use shapes::ProjectionShape;
pub use train::{
    CheckpointConfig, DecayShape, EvaluationConfig, OptimizerConfig, SamplingConfig, ScheduleConfig, SecondStage, TrainConfig,
};
