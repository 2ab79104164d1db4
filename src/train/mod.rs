//! Training: the one loop, and the objectives that it runs. Owns what happens when; what a step computes is the business of `model` and
//! `optimizer`, what is on disk that of `run`.

pub mod check_gpu;
mod codes;
mod constants;
mod continuity;
mod evaluation;
mod late;
mod launch;
mod network;
mod objective;
mod peak;
mod pending;
mod plan;
mod pretrain;
mod progress;
mod samples;
mod save;
mod step;
mod trainer;

pub use constants::ending_ids;
pub use evaluation::evaluate_questions;
pub use launch::{Launch, initial_weights};
pub use network::Network;
pub use objective::Objective;
pub use peak::peak_of;
pub use plan::Plan;
pub use pretrain::{HeldOutText, Pretraining, TextPretraining};
pub use step::{LaunchedStep, StepNumbers, StepOutcome, launch_step, next_token_loss, take_step};
pub use trainer::{Ending, Trainer};
