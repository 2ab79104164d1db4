//! Flags that change an experiment: `--set key=value` for every key, and short forms that are nothing but a key. One mechanism
//! applies them all to the document before it becomes an [`Experiment`](super::Experiment). Reading the document is `load`'s.

use super::check::{Finding, check, joined, unknown_key};
use super::hostile::refuse_hostile;
use super::keys::schema;
use super::schema::Schema;
use super::{DeviceChoice, Precision};
use crate::{Error, Result};
use serde_yaml::{Mapping, Value};

/// Flags that change the experiment. Flatten it into a binary's arguments with `#[command(flatten)]`.
///
/// Whole sections are applied before keys inside them. Two flags that set the same key to different values are an error.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Experiment")]
pub struct Overrides {
    /// Optimizer steps of the whole run [key: train.num_steps]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub num_steps: Option<u64>,
    /// Sequences in a micro-batch [key: train.batch_size]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub batch_size: Option<u64>,
    /// Tokens in a sequence [key: train.seq_len]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seq_len: Option<u64>,
    /// Peak learning rate of the first stage [key: train.optimizer.learning_rate]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub learning_rate: Option<f64>,
    /// Seed of every random number [key: seed]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Where tensors live [key: device]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// Type of matrix products [key: precision]
    #[arg(long, value_name = "TYPE")]
    pub precision: Option<Precision>,
    /// Model folder whose weights a new run starts from; also a run, or an id on the Hugging Face hub [key: init_from]
    #[arg(long, value_name = "MODEL")]
    pub init_from: Option<String>,
    /// Files or directories of text to learn from, in place of the experiment's [key: data.text.source]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub data: Vec<String>,
    /// A tokenizer.json in place of the experiment's tokenizer [key: tokenizer]
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<String>,
    /// Sets any key of the config, such as train.optimizer.learning_rate=1e-3 or, to choose a kind by its key,
    /// data.text.held_out.end_of_each_document_percent=5; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// One flag: which key it sets, to what, and how the user wrote it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Assignment {
    /// As written: `--num-steps 100`, `--set a.b=c`.
    pub flag: String,
    pub key: String,
    pub value: Value,
}

impl Overrides {
    /// Whether nothing is overridden.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Every flag as key and typed value, outer keys first.
    pub(super) fn assignments(&self) -> Result<Vec<Assignment>> {
        let mut assignments = self.convenience_flags()?;
        for written in &self.set {
            assignments.push(parse_set(written)?);
        }
        refuse_contradictions(&assignments)?;
        assignments.sort_by_key(|assignment| assignment.key.split('.').count());
        Ok(assignments)
    }

    fn convenience_flags(&self) -> Result<Vec<Assignment>> {
        let tagged = |kind: &str, value: Value| Value::Mapping(Mapping::from_iter([(Value::from(kind), value)]));
        let files = (!self.data.is_empty()).then(|| tagged("files", Value::from(self.data.clone())));
        let tokenizer = self.tokenizer.clone().map(|path| tagged("file", Value::from(path)));
        let flags: [(&str, &str, Option<Value>); 10] = [
            ("--data", "data.text.source", files),
            ("--tokenizer", "tokenizer", tokenizer),
            ("--num-steps", "train.num_steps", self.num_steps.map(Value::from)),
            ("--batch-size", "train.batch_size", self.batch_size.map(Value::from)),
            ("--seq-len", "train.seq_len", self.seq_len.map(Value::from)),
            ("--learning-rate", "train.optimizer.learning_rate", self.learning_rate.map(Value::from)),
            ("--seed", "seed", self.seed.map(Value::from)),
            ("--device", "device", self.device.map(serde_yaml::to_value).transpose()?),
            ("--precision", "precision", self.precision.map(serde_yaml::to_value).transpose()?),
            ("--init-from", "init_from", self.init_from.clone().map(Value::from)),
        ];
        let given = flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?)));
        given.map(|(flag, key, value)| assignment(format!("{flag} {}", scalar_text(&value)), key, value)).collect()
    }
}

/// A checked assignment: the key exists and the value fits it.
fn assignment(flag: String, key: &str, value: Value) -> Result<Assignment> {
    let expected = find(key).map_err(|finding| error_of(&flag, finding))?;
    match check(expected, key, &value) {
        Ok(()) => Ok(Assignment { flag, key: key.to_string(), value }),
        Err(stopped) => Err(error_of(&flag, stopped.finding.unwrap_or_else(|| Finding { message: stopped.error.to_string(), hint: None }))),
    }
}

fn parse_set(written: &str) -> Result<Assignment> {
    let flag = format!("--set {written}");
    let Some((key, text)) = written.split_once('=') else {
        return Err(Error::input(format!("{flag}: expected KEY=VALUE")).hint("such as --set train.optimizer.learning_rate=1e-3"));
    };
    let key = key.trim();
    let expected = find(key).map_err(|finding| error_of(&flag, finding))?;
    refuse_hostile(text, &flag)?;
    let value = match serde_yaml::from_str::<Value>(text) {
        Ok(value) if !holds_text(expected) || value.is_string() => value,
        // Text needs no quotes on a command line, whatever YAML takes it for.
        Ok(_) | Err(_) if holds_text(expected) => Value::from(text),
        Ok(value) => value,
        Err(error) => return Err(Error::input(format!("{flag}: the value is not valid YAML: {error}"))),
    };
    assignment(flag, key, value)
}

fn holds_text(schema: &Schema) -> bool {
    matches!(schema, Schema::Text)
}

/// What stands at `key`.
fn find(key: &str) -> std::result::Result<&'static Schema, Finding> {
    let mut section = schema().map_err(|error| Finding { message: error.to_string(), hint: None })?;
    let mut path = String::new();
    let mut rest = key;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('.').unwrap_or((rest, ""));
        let Some(entry) = section.entry(name) else {
            return Err(unknown_key(section, &path, rest));
        };
        (section, path, rest) = (entry, joined(&path, name), after);
    }
    if path.is_empty() { Err(Finding { message: "the key is empty".into(), hint: None }) } else { Ok(section) }
}

fn refuse_contradictions(assignments: &[Assignment]) -> Result<()> {
    for (index, later) in assignments.iter().enumerate() {
        if let Some(earlier) = assignments[..index].iter().find(|other| other.key == later.key && other.value != later.value) {
            let message = format!("`{}` is set twice: {} and {}", later.key, earlier.flag, later.flag);
            return Err(Error::input(message).hint("keep one of the two flags"));
        }
        for (path, kind) in chosen_kinds(&later.key) {
            let differs = |other: &&Assignment| chosen_kinds(&other.key).iter().any(|(there, other)| *there == path && *other != kind);
            if let Some(earlier) = assignments[..index].iter().find(differs) {
                let message = format!("`{path}` is of one kind, and two are chosen: {} and {}", earlier.flag, later.flag);
                return Err(Error::input(message).hint("keep one of the two flags"));
            }
        }
    }
    Ok(())
}

/// Where `key` goes through a value of several kinds, and the kind that it chooses by that.
fn chosen_kinds(key: &str) -> Vec<(&str, &str)> {
    let (mut section, mut chosen, mut begin) = (schema().ok(), Vec::new(), 0);
    for name in key.split('.') {
        if section.is_some_and(Schema::is_tagged) {
            chosen.push((key[..begin].trim_end_matches('.'), name));
        }
        section = section.and_then(|section| section.entry(name));
        begin += name.len() + 1;
    }
    chosen
}

/// Puts every value where its key says; sections that are null or absent become sections, and a key below a kind chooses it.
pub(super) fn apply(document: &mut Value, schema: &Schema, assignments: &[Assignment]) {
    for Assignment { key, value, .. } in assignments {
        let (mut place, mut section) = (&mut *document, Some(schema));
        for name in key.split('.') {
            if !place.is_mapping() {
                *place = Value::Mapping(Mapping::new());
            }
            if section.is_some_and(Schema::is_tagged)
                && let Some(kinds) = place.as_mapping_mut()
            {
                kinds.retain(|kind, _| kind.as_str() == Some(name));
            }
            place = &mut place[name];
            section = section.and_then(|section| section.entry(name));
        }
        *place = value.clone();
    }
}

fn error_of(flag: &str, finding: Finding) -> Error {
    let error = Error::input(format!("{flag}: {}", finding.message));
    match finding.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn scalar_text(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap_or_default().trim_end().to_string()
}

#[cfg(test)]
#[path = "overrides_tests.rs"]
mod tests;
