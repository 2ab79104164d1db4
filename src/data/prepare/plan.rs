//! The files of a preparation that is under way: whose they are, what they are of, and their removal. Owns every name in the directory
//! but those of shards and records.

use crate::data::documents::Sources;
use crate::data::prepared::{FORMAT, MANIFEST, TOKENIZER};
use crate::storage::{EntryKind, FileSystem, create_dir_durably, read_capped, remove_temporaries, remove_tree, write_atomically};
use crate::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

pub(super) const LOCK: &str = "prepare.lock";
pub(super) const UNITS: &str = "units";
const PLAN: &str = "plan.json";
const SHARD_ENDING: &str = ".tokens";
const MAX_PLAN_BYTES: u64 = 256 << 20;

/// What the units of a directory are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    pub format: u32,
    pub settings_hash: String,
    pub sources: Sources,
}

impl Plan {
    /// A plan of this version.
    pub fn new(settings_hash: String, sources: &Sources) -> Self {
        Self { format: FORMAT, settings_hash, sources: sources.clone() }
    }

    /// What is different in `there`, which an earlier start left.
    pub fn difference(&self, there: &Self) -> Option<&'static str> {
        if self.format != there.format {
            Some("it was made by another version")
        } else if self.settings_hash != there.settings_hash {
            Some("the settings or the tokenizer are others")
        } else if self.sources != there.sources {
            Some("the files of the corpus have changed")
        } else {
            None
        }
    }

    /// The plan in `dir`; none where there is none that can be read.
    pub fn read(fs: &dyn FileSystem, dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(UNITS).join(PLAN);
        if !fs.exists(&path).context(|| format!("looking at {}", path.display()))? {
            return Ok(None);
        }
        Ok(serde_json::from_slice(&read_capped(fs, &path, MAX_PLAN_BYTES)?).ok())
    }

    /// Removes what an earlier preparation left in `dir`, and puts the plan there.
    pub fn begin(&self, fs: &dyn FileSystem, dir: &Path) -> Result<()> {
        clear(fs, dir).context(|| format!("clearing {}", dir.display()))?;
        create_dir_durably(fs, &dir.join(UNITS))?;
        write_atomically(fs, &dir.join(UNITS).join(PLAN), &serde_json::to_vec(self)?)
    }
}

/// The manifest goes first and the plan with the records second, each for good before what it speaks of.
fn clear(fs: &dyn FileSystem, dir: &Path) -> std::io::Result<()> {
    for name in [MANIFEST, UNITS] {
        if fs.exists(&dir.join(name))? {
            remove_first(fs, &dir.join(name))?;
            fs.sync_dir(dir)?;
        }
    }
    for entry in fs.list(dir)? {
        if entry.name.ends_with(SHARD_ENDING) || entry.name == TOKENIZER {
            fs.remove_file(&dir.join(entry.name))?;
        }
    }
    fs.sync_dir(dir)
}

/// Removes a file, or a directory whose plan goes before its records.
fn remove_first(fs: &dyn FileSystem, path: &Path) -> std::io::Result<()> {
    if fs.metadata(path)?.kind == EntryKind::Directory && fs.exists(&path.join(PLAN))? {
        fs.remove_file(&path.join(PLAN))?;
        fs.sync_dir(path)?;
    }
    remove_tree(fs, path)
}

/// Whether a preparation that did not come to its end left something to go on from: a manifest or, unless `is_the_users` says that its
/// error was one of the user, units.
pub(super) fn is_worth_keeping(fs: &dyn FileSystem, dir: &Path, is_the_users: bool) -> bool {
    let is_record = |name: &str| name != PLAN && !name.starts_with('.');
    let has_units = || fs.list(&dir.join(UNITS)).is_ok_and(|entries| entries.iter().any(|entry| is_record(&entry.name)));
    fs.exists(&dir.join(MANIFEST)).unwrap_or(true) || !is_the_users && has_units()
}

/// Removes all that preparations write, and the directory, if that leaves it empty. What cannot be removed harms nobody.
pub(super) fn remove(fs: &dyn FileSystem, dir: &Path) {
    let _ = remove_temporaries(fs, dir);
    let _ = clear(fs, dir).and_then(|()| fs.remove_file(&dir.join(LOCK))).and_then(|()| fs.remove_dir(dir));
}

/// Removes plan and records, which nobody needs once the manifest is there. What cannot be removed harms nobody.
pub(super) fn remove_units(fs: &dyn FileSystem, dir: &Path) {
    let _ = remove_first(fs, &dir.join(UNITS));
}

/// An error where `dir` holds anything that no preparation writes: starting over removes files, and those of somebody else must not be
/// among them. Names that begin with a dot are passed over.
pub(super) fn refuse_foreign_files(fs: &dyn FileSystem, dir: &Path) -> Result<()> {
    let is_own = |name: &str| {
        let is_shard = name.ends_with(SHARD_ENDING) && (name.starts_with("train-") || name.starts_with("validation-"));
        is_shard || name.starts_with('.') || [MANIFEST, TOKENIZER, LOCK, UNITS].contains(&name)
    };
    let entries = fs.list(dir).context(|| format!("listing {}", dir.display()))?;
    match entries.iter().find(|entry| !is_own(&entry.name)) {
        Some(entry) => {
            let message = format!("{} is no directory of prepared data: it holds {:?}", dir.display(), entry.name);
            Err(Error::input(message).hint("name a directory that is empty or not there yet"))
        }
        None => Ok(()),
    }
}
