//! Which keys an experiment has: the schema of [`Experiment`], derived from the structs, so that a new field is known here at once.
//! Finds the key that was meant, too. Whether a document fits is the business of `check`.

use super::schema::Schema;
use super::{Experiment, trace};
use crate::{Error, Result};
use std::sync::OnceLock;

/// A key's path and what it holds, for completion and help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaKey {
    /// Names joined by dots: `train.optimizer.learning_rate`.
    pub path: String,
    /// What it holds, in words: `a whole number`.
    pub kind: String,
}

/// Every key that holds a value, in the order of the structs.
///
/// # Errors
/// Ours, if a struct uses a shape that the schema cannot express.
pub fn schema_keys() -> Result<Vec<SchemaKey>> {
    Ok(schema()?
        .keys()
        .into_iter()
        .filter(|(_, schema)| schema.holds_a_value())
        .map(|(path, schema)| SchemaKey { path, kind: schema.to_string() })
        .collect())
}

/// The schema of [`Experiment`], traced once.
pub(super) fn schema() -> Result<&'static Schema> {
    static SCHEMA: OnceLock<std::result::Result<Schema, String>> = OnceLock::new();
    SCHEMA.get_or_init(trace::trace::<Experiment>).as_ref().map_err(Error::ours)
}

/// Every path that is `name` or ends in it.
pub(super) fn paths_ending_in(name: &str) -> Vec<String> {
    let ending = format!(".{name}");
    let keys = schema().map(Schema::keys).unwrap_or_default();
    keys.into_iter().map(|(path, _)| path).filter(|path| path == name || path.ends_with(&ending)).collect()
}

/// The word that `written` most likely stands for: one that is spelt nearly so, else the only one that it shortens.
pub(super) fn nearest<'a>(written: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase().replace('-', "_");
    let words: Vec<&str> = words.into_iter().collect();
    let scored = words.iter().map(|word| (strsim::jaro_winkler(&written, word), *word));
    let alike = scored.filter(|(score, _)| *score >= 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    alike.map(|(_, word)| word).or_else(|| {
        let mut shortened = words.iter().filter(|word| shortens(&written, word));
        shortened.next().filter(|_| shortened.next().is_none()).copied()
    })
}

/// Whether `short` is `word` with letters left out, but not the first: bf16 for bfloat16, lr for `learning_rate`.
fn shortens(short: &str, word: &str) -> bool {
    let mut rest = word.chars();
    short.len() >= 2 && short.chars().next() == word.chars().next() && short.chars().all(|letter| rest.any(|other| other == letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(path: &str) -> Option<String> {
        schema_keys().unwrap().into_iter().find_map(|key| (key.path == path).then_some(key.kind))
    }

    #[test]
    fn keys_are_those_of_the_structs_with_their_types() {
        assert_eq!(kind_of("train.num_steps").as_deref(), Some("a whole number"));
        assert_eq!(kind_of("train.optimizer.learning_rate").as_deref(), Some("a number"));
        assert_eq!(kind_of("train.schedule.second_stage.start").as_deref(), Some("a number"));
        assert_eq!(kind_of("data.arithmetic.operators.divide").as_deref(), Some("a number"));
        assert_eq!(kind_of("model.sub_norms").as_deref(), Some("true or false"));
        assert_eq!(kind_of("sampling.prompts").as_deref(), Some("a list"));
        assert_eq!(kind_of("precision").as_deref(), Some("one of `float32`, `bfloat16`"));
        assert_eq!(kind_of("model.attention").as_deref(), Some("one of `grouped_query`, `latent`"));
        assert_eq!(kind_of("model.attention.latent.q_lora_rank").as_deref(), Some("a whole number, or null"));
        assert_eq!(kind_of("tokenizer").as_deref(), Some("one of `characters`, `byte_pair`, `file`, `hub`"));
        assert_eq!(kind_of("train"), None, "a section holds no value");
    }

    #[test]
    fn every_key_of_a_written_experiment_is_in_the_schema_and_none_is_missing() {
        let written = serde_yaml::to_value(super::super::example::experiment()).unwrap();
        let mut paths = Vec::new();
        walk("", &written, &mut paths);
        // Settings of a kind that the example does not choose are keys that it does not have.
        let of_the_other_kind = |path: &str| ["model.attention.", "tokenizer.", "data.text."].iter().any(|kind| path.starts_with(kind));
        let known: Vec<String> = schema_keys().unwrap().into_iter().map(|key| key.path).filter(|path| !of_the_other_kind(path)).collect();
        assert_eq!(paths, known);
    }

    fn walk(path: &str, value: &serde_yaml::Value, paths: &mut Vec<String>) {
        let Some(mapping) = value.as_mapping() else { return paths.push(path.to_string()) };
        for (key, value) in mapping {
            let dot = if path.is_empty() { "" } else { "." };
            walk(&format!("{path}{dot}{}", key.as_str().unwrap()), value, paths);
        }
    }
}
