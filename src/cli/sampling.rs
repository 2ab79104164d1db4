//! How tokens are chosen, and which text ends them.

use crate::Result;
use crate::inference::{GenerationOptions, SamplingOptions, SuggestedSampling};

/// Where neither the user nor the model says one: that of the server's page.
const TEMPERATURE: f64 = 0.8;

/// How tokens are chosen, and which text ends them.
#[derive(Debug, Clone, clap::Args)]
pub struct SamplingArguments {
    /// Divides the logits; 0 takes the likeliest token always. What the model's generation_config.json says when absent, else 0.8
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Only the likeliest so many tokens are candidates; 0 means all. As the model says when absent, else 0
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Only the likeliest tokens whose probabilities together reach this are candidates. As the model says when absent, else 1
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
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
    /// Refuses numbers that no token can be chosen with, before a model is loaded.
    ///
    /// # Errors
    /// The user's: such numbers.
    pub fn validate(&self) -> Result<()> {
        self.options(0, &SuggestedSampling::default()).map(drop)
    }

    /// For texts of at most `max_new_tokens` by a model that suggests `suggested`.
    ///
    /// # Errors
    /// The user's: numbers that no token can be chosen with.
    pub fn options(&self, max_new_tokens: usize, suggested: &SuggestedSampling) -> Result<GenerationOptions> {
        let sampling = SamplingOptions {
            temperature: self.temperature.or(suggested.temperature).unwrap_or(TEMPERATURE),
            top_k: self.top_k.or(suggested.top_k).unwrap_or(0),
            top_p: self.top_p.or(suggested.top_p).unwrap_or(1.0),
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            seed: self.seed,
        };
        sampling.validate()?;
        Ok(GenerationOptions { max_new_tokens, stop: self.stop.clone(), sampling, num_log_probabilities: None })
    }
}
