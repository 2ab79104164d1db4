//! How tokens are chosen, and which text ends them.

use crate::Result;
use crate::inference::{GenerationOptions, SamplingOptions};

/// How tokens are chosen, and which text ends them.
#[derive(Debug, Clone, clap::Args)]
pub struct SamplingArguments {
    /// Divides the logits; 0 takes the likeliest token always
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f64,
    /// Only the likeliest so many tokens are candidates; 0 means all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Only the likeliest tokens whose probabilities together reach this are candidates
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f64,
    /// Only tokens at least this share as likely as the likeliest are candidates
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    min_p: f64,
    /// Makes tokens that are there already less likely; 1 changes nothing
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    repetition_penalty: f64,
    /// Of the random choice
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Text that ends the generation where it appears; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
}

impl SamplingArguments {
    /// For texts of at most `max_new_tokens`.
    ///
    /// # Errors
    /// The user's: numbers that no token can be chosen with.
    pub fn options(&self, max_new_tokens: usize) -> Result<GenerationOptions> {
        let sampling = SamplingOptions {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
        };
        sampling.validate()?;
        Ok(GenerationOptions { max_new_tokens, stop: self.stop.clone(), sampling, num_log_probabilities: None })
    }
}
