//! Where files go: space on the disk, the Hugging Face hub's cache, and whether runs can be written as safely as they are meant to be.

use super::check::{Check, gigabytes};
use crate::data::hub::Environment;
use crate::storage::{DISK, FileSystem, Lock, create_dir_durably, remove_tree, write_atomically};
use crate::{Context, Result};
use std::path::{Path, PathBuf};

/// The built program, and some runs.
const SPACE_TO_WORK: u64 = 5_000_000_000;
/// libtorch while it is unpacked, on top.
const SPACE_FOR_LIBTORCH: u64 = 2_500_000_000;
/// Below this even a small run ends early.
const LEAST_SPACE: u64 = 500_000_000;

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Bytes that can be written in the tree; none where the system does not say.
    pub free: Option<u64>,
    pub hub: std::result::Result<Hub, (String, Option<String>)>,
    pub runs_dir: PathBuf,
    /// What came of writing a run's files as a trainer does; the reason if it failed.
    pub runs: std::result::Result<(), String>,
}

/// The hub's cache, and who asks. Never the token.
#[derive(Debug, Clone)]
pub(super) struct Hub {
    pub cache_dir: PathBuf,
    /// What came of writing there.
    pub writing: std::result::Result<(), String>,
    pub has_token: bool,
    pub is_offline: bool,
}

impl Places {
    pub fn find(root: &Path, runs_dir: &Path) -> Self {
        let hub = Environment::from_env().map_err(|error| {
            let message = error.to_string();
            (message.lines().next().unwrap_or_default().to_owned(), error.hint_text().map(str::to_owned))
        });
        Self {
            free: DISK.free_space(root).ok().filter(|&bytes| bytes < u64::MAX),
            hub: hub.map(Hub::of),
            runs_dir: runs_dir.to_owned(),
            runs: try_in(runs_dir, write_as_a_run_does).map_err(|error| error.to_string()),
        }
    }

    pub fn checks(&self, has_libtorch: bool) -> Vec<Check> {
        vec![self.disk(has_libtorch), self.hub(), self.runs()]
    }

    fn disk(&self, has_libtorch: bool) -> Check {
        const NAME: &str = "disk";
        let Some(free) = self.free else { return Check::ok(NAME, "the system does not say how much is free") };
        let wanted = SPACE_TO_WORK + if has_libtorch { 0 } else { SPACE_FOR_LIBTORCH };
        let found = format!("{} are free", gigabytes(free));
        match free {
            _ if free < LEAST_SPACE => Check::error(NAME, format!("only {found}, too little for a run"), "du -sh target data models runs"),
            _ if free < wanted => {
                let finding = format!("{found}; building and some runs take {}", gigabytes(wanted));
                Check::warning(NAME, finding, "du -sh target data models runs")
            }
            _ => Check::ok(NAME, found),
        }
    }

    fn hub(&self) -> Check {
        const NAME: &str = "hub";
        let hub = match &self.hub {
            Ok(hub) => hub,
            Err((message, hint)) => {
                return Check::warning(NAME, message, hint.clone().unwrap_or_else(|| "export HF_HOME=DIRECTORY".to_owned()));
            }
        };
        let token = if hub.has_token { "a token is set" } else { "no token is set, which public files do not need" };
        let offline = if hub.is_offline { "; HF_HUB_OFFLINE keeps to what is there" } else { "" };
        match &hub.writing {
            Ok(()) => Check::ok(NAME, format!("files go to {}; {token}{offline}", hub.cache_dir.display())),
            Err(reason) => {
                let finding = format!("nothing can be kept in {}: {reason}; {token}{offline}", hub.cache_dir.display());
                Check::warning(NAME, finding, "export HF_HOME=DIRECTORY")
            }
        }
    }

    fn runs(&self) -> Check {
        const NAME: &str = "runs";
        let dir = self.runs_dir.display();
        match &self.runs {
            Ok(()) => Check::ok(NAME, format!("{dir} can be written, locked and synced")),
            Err(reason) => {
                Check::error(NAME, format!("no run can be kept in {dir}: {reason}"), "just train-arithmetic --runs-dir DIRECTORY")
            }
        }
    }
}

impl Hub {
    fn of(environment: Environment) -> Self {
        let writing = try_in(&environment.cache_dir, |_| Ok(())).map_err(|error| error.to_string());
        Self { writing, has_token: environment.token.is_some(), is_offline: environment.is_offline, cache_dir: environment.cache_dir }
    }
}

/// Does `work` in a new directory within `dir`, or within the nearest directory above it that exists; nothing of it stays.
pub(super) fn try_in(dir: &Path, work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let existing = dir.ancestors().find(|dir| dir.exists() && !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let trial = existing.join(format!(".doctor-{}", std::process::id()));
    DISK.create_dir(&trial).context(|| format!("creating a directory in {}", existing.display()))?;
    let outcome = work(&trial);
    let removed = remove_tree(&DISK, &trial).context(|| format!("removing {}", trial.display()));
    outcome.and(removed)
}

/// The lock of a run, a directory and a file of a checkpoint, as they are written for keeps.
fn write_as_a_run_does(dir: &Path) -> Result<()> {
    let _lock = Lock::acquire(&dir.join("lock"))?;
    create_dir_durably(&DISK, &dir.join("checkpoints"))?;
    write_atomically(&DISK, &dir.join("checkpoints").join("state"), b"0123456789")
}
