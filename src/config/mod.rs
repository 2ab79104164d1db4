//! An experiment, from the YAML as written to the values that the trainer uses. Owns the schema, its checks, overrides and
//! estimates; where a run keeps its copy is the business of `run`.

mod data;
mod experiment;
mod model;
mod train;

pub use data::{ArithmeticConfig, DataConfig, OperatorShares, TokenizerConfig};
pub use experiment::{DeviceChoice, Experiment, Precision};
pub use model::{Activation, ActivationQuantizer, Attention, BitLinearConfig, ModelConfig, NormPlacement, WeightQuantizer};
pub use train::{
    CheckpointConfig, DecayShape, EvaluationConfig, OptimizerConfig, SamplingConfig, ScheduleConfig, SecondStage, TrainConfig,
};
