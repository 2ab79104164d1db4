//! What is said of a model that is nowhere: where it was looked for, and what is there that is called nearly so.

use super::names::{MODELS, owner_and_name};
use crate::run::{RunDirectory, find_run, list_runs};
use crate::storage::DISK;
use crate::{Error, Result};
use std::path::Path;

/// Names with more than a third of their characters wrong are others.
const WRONG_SHARE: usize = 3;
/// Entries of a directory that are compared.
const MAX_ENTRIES: usize = 1000;

/// The error for a `name` that is no path, no run below `runs_dir` and no beginning of one's id; none if it is one of
/// these, or a folder.
pub(super) fn missing(name: &str, runs_dir: &Path) -> Option<Error> {
    let path = Path::new(name);
    let ids: Vec<String> = list_runs(&DISK, runs_dir).ok()?.iter().rev().map(RunDirectory::id).collect();
    if find_run(&DISK, runs_dir, Some(name)).is_ok() || !name.is_empty() && ids.iter().any(|id| id.starts_with(name)) {
        return None;
    }
    let runs_dir = runs_dir.display();
    if path.is_dir() {
        return None; // what it lacks is said where it is opened
    }
    if path.exists() {
        return Some(Error::input(format!("{name} is no model folder, no GGUF file and no run")));
    }
    let owner = owner_and_name(name).map(|(owner, _)| owner).filter(|owner| Path::new(owner).exists());
    let not_asked = owner.map(|owner| format!("; the hub was not asked, as {owner} is a path here")).unwrap_or_default();
    let message = format!("there is no run {name:?} in {runs_dir}, and no folder or file of that name{not_asked}");
    Some(Error::input(message).hint(hint(name, ids)))
}

/// `failure`, which is what the hub said of `name`, with that nothing here is called so.
pub(super) fn not_on_hub(name: &str, failure: Error) -> Error {
    failure.context(format!("{name:?} is no path and no run here, so it was looked for on the hub"))
}

fn hint(name: &str, ids: Vec<String>) -> String {
    let places = [Path::new(name).parent().filter(|dir| dir.is_dir()).unwrap_or(Path::new("")), Path::new(MODELS)];
    let beside = places.into_iter().flat_map(|dir| entries(dir).unwrap_or_default());
    if let Some(nearest) = nearest(name, ids.iter().cloned().chain(beside)) {
        return format!("the nearest is {nearest}");
    }
    let hub = "a model of the hub is named owner/name, such as microsoft/bitnet-b1.58-2B-4T";
    match ids.first() {
        Some(newest) => format!("the newest run is {newest}; {hub}"),
        None => hub.to_owned(),
    }
}

/// Paths of what is in a directory.
fn entries(dir: &Path) -> Result<Vec<String>> {
    let listed = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let names = std::fs::read_dir(listed)?.take(MAX_ENTRIES).flatten().map(|entry| entry.file_name());
    let mut paths: Vec<String> = names.filter_map(|name| dir.join(name).to_str().map(str::to_owned)).collect();
    paths.sort();
    Ok(paths)
}

/// The candidate that is written most like `name`, or ends as it does, unless all are others.
fn nearest(name: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let limit = (name.chars().count() / WRONG_SHARE).max(1);
    let distance = |candidate: &str| {
        let last = candidate.rsplit('/').next().unwrap_or(candidate);
        strsim::damerau_levenshtein(name, candidate).min(strsim::damerau_levenshtein(name, last))
    };
    let distances = candidates.map(|candidate| (distance(&candidate), candidate));
    distances.filter(|(distance, _)| *distance <= limit).min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_nearly_so_is_named_and_nothing_else() {
        let near = |name: &str| nearest(name, ["mine", "models/tiny", "arithmetic"].into_iter().map(str::to_owned));
        assert_eq!(near("nine").as_deref(), Some("mine"));
        assert_eq!(near("tinny").as_deref(), Some("models/tiny"));
        assert_eq!(near("models/tny").as_deref(), Some("models/tiny"));
        assert_eq!(near("gpt2"), None);
    }
}
