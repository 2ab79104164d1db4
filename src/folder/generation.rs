//! generation_config.json: the tokens that end a text, and how the model's makers choose tokens.

use serde::Deserialize;
use serde_json::{Value, json};

/// The part of generation_config.json that is used here.
#[derive(Debug, Deserialize)]
pub struct GenerationConfig {
    eos_token_id: Option<Ids>,
    do_sample: Option<bool>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
}

/// One id or several, as transformers writes it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Several(Vec<u32>),
}

/// How a model's makers choose its tokens; nothing where generation_config.json does not say that tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SuggestedSampling {
    /// Divides the logits.
    pub temperature: Option<f64>,
    /// Only this many of the likeliest tokens are candidates.
    pub top_k: Option<usize>,
    /// Only the likeliest whose probabilities together reach this are candidates.
    pub top_p: Option<f64>,
}

impl GenerationConfig {
    /// Tokens that end a text; none where the file does not say.
    pub fn endings(&self) -> Option<Vec<u32>> {
        self.eos_token_id.as_ref().map(|ids| match ids {
            Ids::One(id) => vec![*id],
            Ids::Several(ids) => ids.clone(),
        })
    }

    /// How tokens are chosen.
    pub fn sampling(&self) -> SuggestedSampling {
        match self.do_sample {
            Some(true) => SuggestedSampling { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p },
            Some(false) | None => SuggestedSampling::default(),
        }
    }
}

/// A generation_config.json that begins texts with `bos`, ends them at `eos`, one id or several, and takes the likeliest token.
pub fn generation_json(bos: Option<u32>, eos: &Value) -> Value {
    json!({"bos_token_id": bos, "eos_token_id": eos, "do_sample": false})
}
