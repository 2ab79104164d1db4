//! Train, tune, judge and run ternary language models (BitNet b1.58).
//!
//! The library never prints: binaries under `scripts/` do. Feature `torch` (on by default) is the training half; without it, run
//! directories, status and plots build in seconds and need no libtorch.

pub mod config;
pub mod error;
pub mod run;
pub mod ternary;

pub use error::{Context, Error, Fault, Result};
