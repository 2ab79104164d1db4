//! Train, tune, judge and run ternary language models (BitNet b1.58).
//!
//! The library never prints: binaries under `scripts/` do. Feature `torch` (on by default) is the training half; without it, run
//! directories, status and plots build in seconds and need no libtorch.

pub mod cli;
pub mod config;
pub mod data;
pub mod doctor;
pub mod export;
pub mod folder;
pub mod gguf;
pub mod inference;
#[cfg(feature = "torch")]
pub mod libtorch;
#[cfg(feature = "torch")]
pub mod model;
#[cfg(feature = "torch")]
pub mod optimizer;
pub mod report;
pub mod run;
pub mod sampling;
pub mod schedule;
pub mod serve;
pub mod storage;
pub mod tasks;
pub mod tokenizer;
#[cfg(feature = "torch")]
pub mod train;

pub use bitnet_core::{Context, Error, Fault, Result, dense, error, random, ternary};
