//! Training: the one loop, and the objectives that it runs. Owns what happens when; what a step computes is the business of `model` and
//! `optimizer`, what is on disk that of `run`.

mod codes;
mod evaluation;
mod network;
mod objective;
mod pretrain;
mod progress;
mod step;
mod stop;

pub use evaluation::evaluate_questions;
pub use network::Network;
pub use objective::Objective;
pub use pretrain::Pretraining;
pub use step::{StepNumbers, StepOutcome, next_token_loss, take_step};
pub use stop::{StopReason, StopSignal};
