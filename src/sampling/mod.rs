//! The choice of the next token from logits, for the training half and the packed engine alike, and how likely tokens were. How logits
//! are computed, and the loops around a choice, are left to `model` and `inference`.

mod ranking;
mod sampler;
#[cfg(test)]
mod sampler_tests;

pub use sampler::{LogProbabilities, Sampler, SamplingOptions, TokenLogProbability, log_probabilities};
