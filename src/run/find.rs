//! From what a user types to a run: an id, a unique beginning of one, a path, or nothing. What a run holds is the business of `status`.

use super::{DamagedCheckpoint, Manifest, RunDirectory, check_run_id};
use crate::folder::CONFIG;
use crate::storage::{EntryKind, FileSystem};
use crate::{Context, Error, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Stands for the newest run, unless a run has this id.
const NEWEST: &str = "latest";
const START_ONE: &str = "start one with: just train-simple";
/// What makes a directory a model folder.
/// So many ids a message names.
const MAX_NAMED: usize = 5;

/// The run that `name` means below `runs_dir`: an id, the beginning of exactly one id, a path to a run, or `latest`. No name is the run
/// that was launched last.
///
/// # Errors
/// The user's: no runs at all, no run of that name (with the nearest ids), several whose ids begin so.
pub fn find_run(fs: &dyn FileSystem, runs_dir: &Path, name: Option<&str>) -> Result<RunDirectory> {
    let runs = list_runs(fs, runs_dir)?;
    let Some(name) = name else { return newest(runs, runs_dir) };
    if let Some(run) = runs.iter().find(|run| run.id() == name) {
        return Ok(run.clone());
    }
    if name == NEWEST {
        return newest(runs, runs_dir);
    }
    let (mut begun, others): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| !name.is_empty() && run.id().starts_with(name));
    match (begun.len(), run_at(Path::new(name))) {
        (_, Some(run)) => Ok(run),
        (1, _) => Ok(begun.swap_remove(0)),
        (0, _) => Err(unknown(name, runs_dir, &others)),
        _ => Err(ambiguous(name, &begun)),
    }
}

/// The model that `name` means: a folder at that path, a checkpoint's among them, a GGUF file, or the newest whole checkpoint of a run, as [`find_run`]
/// finds it; `passed_over` hears of every newer one that is damaged.
///
/// # Errors
/// Those of [`find_run`], a directory that is neither a model nor a run, and a run without a whole checkpoint.
pub fn model_folder(
    fs: &dyn FileSystem,
    runs_dir: &Path,
    name: Option<&str>,
    passed_over: &mut dyn FnMut(&DamagedCheckpoint),
) -> Result<PathBuf> {
    let is_file = |path: &Path| path.extension().is_some_and(|extension| extension == "gguf") && path.is_file();
    if let Some(path) = name.map(Path::new).filter(|path| path.join(CONFIG).is_file() || is_file(path)) {
        return Ok(path.to_path_buf());
    }
    let run = find_run(fs, runs_dir, name).map_err(|error| name.and_then(|name| no_model(Path::new(name))).unwrap_or(error))?;
    Ok(run.newest_checkpoint(fs, passed_over)?.path().to_path_buf())
}

/// What is wrong with a path that is there, or was meant to be, and holds no model; none where a run may have been meant.
fn no_model(path: &Path) -> Option<Error> {
    const HINT: &str = "a model folder holds config.json, model.safetensors and tokenizer.json";
    let shown = path.display();
    if path.is_dir() {
        let lack = match path.join(CONFIG).symlink_metadata() {
            Ok(_) => "its config.json is no regular file",
            Err(_) => "it has no config.json",
        };
        return Some(Error::input(format!("{shown} is neither a model folder nor a run: {lack}, nor logs/")).hint(HINT));
    }
    let is_path = path.components().count() > 1 || path.is_absolute();
    is_path.then(|| Error::input(format!("{shown} does not exist, and no run has such an id")).hint(HINT))
}

/// The run to go on with: by id, also one whose creation was cut short, else as [`find_run`]; without a name the newest, of `experiment`
/// if one is given by its name.
///
/// # Errors
/// The user's: there is none.
pub fn run_to_resume(fs: &dyn FileSystem, runs_dir: &Path, name: Option<&str>, experiment: Option<&str>) -> Result<RunDirectory> {
    match (name, experiment) {
        (Some(id), _) if check_run_id(id).is_ok() && runs_dir.join(id).is_dir() => Ok(RunDirectory::new(runs_dir.join(id))),
        (None, Some(experiment)) => newest_run_of(fs, runs_dir, experiment),
        (name, _) => find_run(fs, runs_dir, name),
    }
}

fn newest_run_of(fs: &dyn FileSystem, runs_dir: &Path, experiment: &str) -> Result<RunDirectory> {
    let is_of = |run: &RunDirectory| run.read_config().is_ok_and(|config| config.experiment == experiment);
    list_runs(fs, runs_dir)?.into_iter().rev().find(is_of).ok_or_else(|| {
        Error::input(format!("there is no run of the experiment `{experiment}` in {}", runs_dir.display()))
            .hint(format!("start one with: train {experiment}"))
    })
}

/// The run and the step of the checkpoint at `path`; none where it is no checkpoint of a run.
pub fn run_of_checkpoint(path: &Path) -> Option<(RunDirectory, u64)> {
    let path = path.canonicalize().ok()?;
    let step = path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()?;
    let run = RunDirectory::new(path.parent()?.parent()?);
    (is_run(&run) && path.parent() == Some(&run.checkpoints_dir())).then_some((run, step))
}

/// Every run below `runs_dir`, the one launched last at the end. A `runs_dir` that is absent holds none.
pub fn list_runs(fs: &dyn FileSystem, runs_dir: &Path) -> Result<Vec<RunDirectory>> {
    let entries = match fs.list(runs_dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        entries => entries.context(|| format!("listing {}", runs_dir.display())).map_err(Error::blame_input)?,
    };
    let is_candidate = |kind| matches!(kind, EntryKind::Directory | EntryKind::Other); // a run may be linked from another disk
    let paths = entries.iter().filter(|entry| is_candidate(entry.kind)).map(|entry| runs_dir.join(&entry.name));
    let mut runs: Vec<_> = paths.map(RunDirectory::new).filter(is_run).map(|run| (launch_time(fs, &run), run)).collect();
    runs.sort_by(|(time, run), (other_time, other)| time.total_cmp(other_time).then_with(|| run.id().cmp(&other.id())));
    Ok(runs.into_iter().map(|(_, run)| run).collect())
}

fn is_run(run: &RunDirectory) -> bool {
    run.manifest_path().is_file() || run.logs_dir().is_dir()
}

/// When a trainer was last launched on it, in seconds since 1970; without a manifest, when its directory last changed.
fn launch_time(fs: &dyn FileSystem, run: &RunDirectory) -> f64 {
    let launched = Manifest::read(fs, run).ok().and_then(|manifest| manifest.launches.last().map(|launch| launch.unix_time as f64));
    launched.or_else(|| modified(run.path())).unwrap_or(0.0)
}

/// When a file or directory last changed, in seconds since 1970.
pub(super) fn modified(path: &Path) -> Option<f64> {
    let time = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

fn newest(mut runs: Vec<RunDirectory>, runs_dir: &Path) -> Result<RunDirectory> {
    runs.pop().ok_or_else(|| no_runs(runs_dir))
}

/// The error for a `runs_dir` that holds no run.
pub fn no_runs(runs_dir: &Path) -> Error {
    Error::input(format!("there are no runs in {}", runs_dir.display())).hint(START_ONE)
}

/// The run whose directory is at `path`, under the name that the directory really has: `.` is fine.
fn run_at(path: &Path) -> Option<RunDirectory> {
    let run = RunDirectory::new(path);
    if !is_run(&run) {
        return None;
    }
    let is_named = path.file_name().is_some();
    Some(if is_named { run } else { RunDirectory::new(path.canonicalize().unwrap_or_else(|_| PathBuf::from(path))) })
}

fn unknown(name: &str, runs_dir: &Path, runs: &[RunDirectory]) -> Error {
    if runs.is_empty() {
        return Error::input(format!("there is no run {name:?}, nor any other in {}", runs_dir.display())).hint(START_ONE);
    }
    let mut ids: Vec<String> = runs.iter().rev().map(RunDirectory::id).collect();
    ids.sort_by_key(|id| strsim::damerau_levenshtein(id, name)); // stable: of equals the newest comes first
    Error::input(format!("there is no run {name:?} in {}", runs_dir.display())).hint(format!("there is {}", enumerate(&ids)))
}

fn ambiguous(name: &str, candidates: &[RunDirectory]) -> Error {
    let ids: Vec<String> = candidates.iter().rev().map(RunDirectory::id).collect();
    Error::input(format!("{name:?} is the beginning of {} runs", ids.len())).hint(format!("type more of the id: {}", enumerate(&ids)))
}

fn enumerate(ids: &[String]) -> String {
    let named = ids[..ids.len().min(MAX_NAMED)].join(", ");
    match ids.len().saturating_sub(MAX_NAMED) {
        0 => named,
        rest => format!("{named} and {rest} more"),
    }
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
