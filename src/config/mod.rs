//! An experiment, from the YAML as written to the values that the trainer uses. Owns the schema, its checks, overrides and
//! estimates; where a run keeps its copy is the business of `run`.

mod accelerator;
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
mod memory;
mod model;
mod overrides;
mod rules;
mod rules_of_data;
mod schema;
mod shapes;
mod size;
mod text;
mod trace;
mod train;
mod validate;

pub use accelerator::{ACCELERATORS, Accelerator, Budget};
pub use data::{ArithmeticConfig, DataConfig, OperatorShares};
pub use estimate::{Estimate, ParameterCount};
pub use experiment::{DeviceChoice, Experiment, Precision};
pub use hugging_face::{BLOCKS_METHOD, HuggingFaceConfig, LARGEST_CONFIG_JSON, PackedForm, TokenIds};
pub use keys::{SchemaKey, schema_keys};
pub use load::{Resolved, load, resolve};
pub use memory::{Kernels, StepMemory};
pub use model::{
    Activation, ActivationQuantizer, Attention, BitLinearConfig, LatentAttention, ModelConfig, NormPlacement, WeightQuantizer,
};
pub use overrides::Overrides;
pub use shapes::{ProjectionShape, parameter_name};
pub use text::{BadRecords, BytePairConfig, HeldOut, HubSource, TextConfig, TextSource, TokenizerConfig};
pub use train::{
    CheckpointConfig, DecayShape, EvaluationConfig, OptimizerConfig, SamplingConfig, SamplingMode, ScheduleConfig, SecondStage, TrainConfig,
};
