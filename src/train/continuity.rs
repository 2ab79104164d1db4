//! Whether a run may go on as it is asked to: what the state in its checkpoints depends on must be what it was, whether a flag changes it
//! or a hand in config.yaml.

use super::constants::EXPERIMENT;
use crate::config::{Experiment, Overrides, resolve};
use crate::run::{Checkpoint, Fingerprints, Manifest, RunDirectory};
use crate::storage::{FileSystem, content_hash};
use crate::{Error, Result};
use serde_yaml::Value;
use std::path::Path;

/// Keys, and sections of keys, under which a checkpoint's tensors and position mean something else when they change.
const FIXED: [&str; 8] =
    ["seed", "init_from", "model", "tokenizer", "data", "train.batch_size", "train.accumulation_steps", "train.seq_len"];

/// A key with another value than it had.
struct Change {
    key: String,
    was: String,
    is: String,
}

impl Change {
    fn is_of_state(&self) -> bool {
        FIXED.iter().any(|key| self.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }
}

/// A flag must not change what a checkpoint's tensors and position mean.
pub(super) fn refuse_other_state(saved: &Experiment, wanted: &Experiment) -> Result<()> {
    let changes = changes(&saved.to_yaml()?, &wanted.to_yaml()?)?;
    let keys: Vec<_> = changes.iter().filter(|change| change.is_of_state()).map(|change| format!("`{}`", change.key)).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let message = format!("{} cannot change when a run is resumed: its checkpoints would mean something else", keys.join(", "));
    Err(Error::input(message).hint("leave the flag out, or start a new run under another --run-id"))
}

/// Nor must a hand in config.yaml, which is `config` now. What else a hand changed there is taken, and returned as a sentence.
pub(super) fn compare_by_hand(
    fs: &dyn FileSystem,
    run: &RunDirectory,
    manifest: &Manifest,
    checkpoint: Option<&Checkpoint>,
    config: &Experiment,
) -> Result<Option<String>> {
    let text = config.to_yaml()?;
    let path = run.config_path();
    if was_written_by_us(&text, manifest, checkpoint.map(Checkpoint::fingerprints)) {
        return Ok(None);
    }
    let Some(checkpoint) = checkpoint else {
        return Ok(Some(format!("note: {} was changed by hand; the run begins anew with it", path.display())));
    };
    let Ok(record) = checkpoint.read(fs, EXPERIMENT) else { return Err(unknown_change(&path, checkpoint)) };
    let changes = changes(&String::from_utf8_lossy(&record), &text)?;
    let list = |changes: &mut dyn Iterator<Item = &Change>| {
        changes.map(|Change { key, was, is }| format!("`{key}` is {is} and was {was}")).collect::<Vec<_>>().join(", ")
    };
    let forbidden = list(&mut changes.iter().filter(|change| change.is_of_state()));
    if !forbidden.is_empty() {
        let message =
            format!("{} was changed by hand: {forbidden}; the state of {} would mean something else", path.display(), name(checkpoint));
        return Err(Error::input(message).hint(format!(
            "write the old values back; a new run can start from these weights with --init-from {}",
            checkpoint.path().display()
        )));
    }
    let taken = list(&mut changes.iter());
    Ok((!taken.is_empty()).then(|| format!("note: {} was changed by hand: {taken}", path.display())))
}

/// Every config that the trainer wrote has its hash in the manifest before it is written; a checkpoint has that of its own.
fn was_written_by_us(text: &str, manifest: &Manifest, fingerprints: Option<&Fingerprints>) -> bool {
    let hash = content_hash(text.as_bytes());
    let is_unknown = manifest.launches.is_empty() && fingerprints.is_none();
    is_unknown || manifest.launches.iter().any(|launch| launch.config_hash == hash) || fingerprints.is_some_and(|own| own.config == hash)
}

/// Checkpoints from before they held the experiment have no more of it than a hash.
fn unknown_change(path: &Path, checkpoint: &Checkpoint) -> Error {
    let message = format!("{} was changed by hand: it is not the config of {}, by its hash", path.display(), name(checkpoint));
    Error::input(message).hint("write the old values back; --num-steps and --set change what may change")
}

fn name(checkpoint: &Checkpoint) -> String {
    RunDirectory::new(checkpoint.path()).id()
}

/// A version that draws other problems cannot go on; the run stays as it is.
pub(super) fn refuse_other_data(fingerprints: &Fingerprints, checkpoint: &Checkpoint) -> Result<()> {
    if fingerprints.data == checkpoint.fingerprints().data {
        return Ok(());
    }
    let message = format!("{}: the data are not those that it was trained on", checkpoint.path().display());
    Err(Error::input(message).hint("this version draws other problems; start a new run"))
}

/// `--resume` with an experiment that is not the run's is a mix-up.
pub(super) fn refuse_other_experiment(saved: &Experiment, named: &Path, id: &str) -> Result<()> {
    let named = resolve(named, &Overrides::default())?.experiment.experiment;
    if named == saved.experiment {
        return Ok(());
    }
    let message = format!("run {id} is of the experiment `{}`, not of `{named}`", saved.experiment);
    Err(Error::input(message).hint(format!("name its experiment: train {} --run-id {id} --resume", saved.experiment)))
}

/// Every key of `is` whose value is another in `was`, and every key of `was` that is gone. One that only `is` has came with a later version.
fn changes(was: &str, is: &str) -> Result<Vec<Change>> {
    let mut found = Vec::new();
    collect_changes("", &serde_yaml::from_str(was)?, &serde_yaml::from_str(is)?, &mut found);
    Ok(found)
}

fn collect_changes(key: &str, was: &Value, is: &Value, found: &mut Vec<Change>) {
    let (Value::Mapping(old), Value::Mapping(new)) = (was, is) else {
        if was != is {
            found.push(Change { key: key.to_owned(), was: shown(was), is: shown(is) });
        }
        return;
    };
    for (name, old) in old {
        let name = name.as_str().unwrap_or_default();
        let key = if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        collect_changes(&key, old, new.get(name).unwrap_or(&Value::Null), found);
    }
}

/// A value on one line.
fn shown(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(was: &str, is: &str) -> Vec<(String, bool)> {
        changes(was, is).unwrap().into_iter().map(|change| (change.key.clone(), change.is_of_state())).collect()
    }

    #[test]
    fn keys_are_told_apart_by_whether_a_state_depends_on_them() {
        let was = "{seed: 1, seeds: 1, model: {a: {b: 1.5}}, train: {seq_len: 8, num_steps: 5}, data: {text: {x: 1}}}";
        let is = "{seed: 2, seeds: 2, model: {a: {b: 1.25}}, train: {seq_len: 9, num_steps: 6}, data: {other: {x: 1}}}";
        let expected = [
            ("seed", true),
            ("seeds", false),
            ("model.a.b", true),
            ("train.seq_len", true),
            ("train.num_steps", false),
            ("data.text", true),
        ];
        assert_eq!(changed(was, is), expected.map(|(key, is_of_state)| (key.to_owned(), is_of_state)));
    }

    #[test]
    fn a_key_that_a_later_version_added_is_no_change() {
        assert!(changed("{model: {a: 1}}", "{model: {a: 1, b: 2}, c: 3}").is_empty());
    }
}
