//! What is the same in every checkpoint of a run: the files that are known before there are weights, and the tokens that end a text.

use crate::Result;
use crate::config::{Experiment, TokenIds};
use crate::run::Fingerprints;
use crate::storage::content_hash;
use crate::tasks::Task;
use crate::tokenizer::Tokenizer;
use serde_json::json;

/// The resolved experiment, as it was when the state was saved: what a config.yaml that was changed by hand is compared with.
pub(super) const EXPERIMENT: &str = "experiment.yaml";

/// The files that are the same in every checkpoint of a run, and what a state depends on.
pub(super) struct Constants {
    pub(super) files: [(&'static str, Vec<u8>); 4],
    pub(super) fingerprints: Fingerprints,
}

impl Constants {
    /// The constants of `experiment`, whose data hash to `data`.
    pub(super) fn new(experiment: &Experiment, tokenizer: &Tokenizer, data: String) -> Result<Self> {
        let tokens = TokenIds { bos: tokenizer.bos_id(), eos: tokenizer.eos_id() };
        let config = serde_json::to_vec_pretty(&experiment.model.to_hugging_face(tokens)?)?;
        let generation = serde_json::to_vec_pretty(&generation_config(experiment, tokenizer)?)?;
        let tokenizer = tokenizer.to_json()?.into_bytes();
        let resolved = experiment.to_yaml()?.into_bytes();
        let fingerprints = Fingerprints { config: content_hash(&resolved), tokenizer: content_hash(&tokenizer), data };
        let files =
            [("config.json", config), ("generation_config.json", generation), ("tokenizer.json", tokenizer), (EXPERIMENT, resolved)];
        Ok(Self { files, fingerprints })
    }
}

/// Which tokens end a text: the tokenizer's own, if it has one, and what ends an answer in the data.
pub fn ending_ids(experiment: &Experiment, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let mut ids = Vec::from_iter(tokenizer.eos_id());
    if let Some(task) = Task::of(&experiment.data)? {
        ids.extend(tokenizer.encode(task.terminator())?);
    }
    Ok(ids)
}

fn generation_config(experiment: &Experiment, tokenizer: &Tokenizer) -> Result<serde_json::Value> {
    Ok(json!({
        "bos_token_id": tokenizer.bos_id(),
        "eos_token_id": ending_ids(experiment, tokenizer)?,
        "pad_token_id": tokenizer.pad_id(),
        "do_sample": false,
    }))
}
