//! The checkpoints of a run that is being trained: setting up, cleaning up after a crash, finding where to go on. Its owner holds the
//! run's lock.

use super::{Checkpoint, Checkpoints, Latest, name};
use crate::storage::{FileSystem, create_dir_durably, remove_tree};
use crate::{Context, Result};
use std::path::{Path, PathBuf};

/// The checkpoints of a run that is being trained. Only the holder of the run's lock may have one.
pub struct CheckpointStore<'fs> {
    pub(super) checkpoints: Checkpoints<'fs>,
    pub(super) keep_last: usize,
    pub(super) pinned: Option<u64>,
    pub(super) resumed_from: Option<u64>,
    pub(super) newest_valid: Option<u64>,
}

impl<'fs> CheckpointStore<'fs> {
    /// Makes `dir`, a run's `checkpoints/`, if it is absent, and removes what a crash left in it. The newest `keep_last`, at least one,
    /// survive pruning, and beside them the one resumed from and the one with the lowest held-out loss.
    pub fn open(fs: &'fs dyn FileSystem, dir: impl Into<PathBuf>, keep_last: usize) -> Result<Self> {
        let checkpoints = Checkpoints::new(fs, dir);
        create_dir_durably(fs, &checkpoints.dir)?;
        let store = Self { checkpoints, keep_last: keep_last.max(1), pinned: None, resumed_from: None, newest_valid: None };
        store.clean()?;
        store.sync_parent()?; // A crash between a rename and its sync: from here on, what can be seen is durable.
        Ok(store)
    }

    /// To look at them without changing anything.
    pub fn checkpoints(&self) -> &Checkpoints<'fs> {
        &self.checkpoints
    }

    /// The checkpoint of `step` is never pruned.
    pub fn pin(&mut self, step: u64) {
        self.pinned = Some(step);
    }

    /// The newest whole checkpoint, which is never pruned from now on. Damaged ones above it are renamed `corrupt-*` and returned.
    pub fn load_latest(&mut self) -> Result<Latest> {
        let mut latest = self.checkpoints.latest()?;
        for damaged in &mut latest.damaged {
            damaged.path = self.set_aside(damaged.step)?;
        }
        if !latest.damaged.is_empty() {
            self.sync_parent()?;
        }
        self.newest_valid = latest.checkpoint.as_ref().map(Checkpoint::step);
        self.resumed_from = self.newest_valid;
        Ok(latest)
    }

    /// The checkpoint of `step`, which is never pruned from now on. Newer ones stay, and are replaced as their steps are saved again.
    pub fn load(&mut self, step: u64) -> Result<Checkpoint> {
        let checkpoint = self.checkpoints.open(step)?;
        self.resumed_from = Some(step);
        Ok(checkpoint)
    }

    /// Removes what saves that did not end have left, and brings back a checkpoint that was to be replaced.
    pub(super) fn clean(&self) -> Result<()> {
        let fs = self.checkpoints.fs;
        let entries = fs.list(&self.checkpoints.dir).context(|| format!("listing {}", self.checkpoints.dir.display()))?;
        let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
        for name in names.iter().filter(|name| name.starts_with(name::TEMPORARY) || name.starts_with(name::TRASH)) {
            let path = self.in_dir(name);
            remove_tree(fs, &path).context(|| format!("removing {}", path.display()))?;
        }
        names.iter().filter_map(|name| name::replaced_step_of(name)).try_for_each(|step| self.settle_replaced(step))
    }

    /// Puts the replaced checkpoint back unless its successor arrived.
    pub(super) fn settle_replaced(&self, step: u64) -> Result<()> {
        let target = self.checkpoints.path_of(step);
        let is_replaced = self.checkpoints.fs.exists(&target).context(|| format!("looking at {}", target.display()))?;
        let to = if is_replaced { self.trash_of(step) } else { target };
        self.rename(&self.replaced_path_of(step), &to)?;
        if is_replaced { remove_tree(self.checkpoints.fs, &to).context(|| format!("removing {}", to.display())) } else { Ok(()) }
    }

    fn set_aside(&self, step: u64) -> Result<PathBuf> {
        let from = self.checkpoints.path_of(step);
        let mut number = 1;
        let mut to = self.in_dir(&format!("corrupt-{step:06}"));
        while self.checkpoints.fs.exists(&to).context(|| format!("looking at {}", to.display()))? {
            number += 1;
            to = self.in_dir(&format!("corrupt-{step:06}-{number}"));
        }
        self.rename(&from, &to)?;
        Ok(to)
    }

    pub(super) fn replaced_path_of(&self, step: u64) -> PathBuf {
        self.in_dir(&format!("{}{step:06}", name::REPLACED))
    }

    pub(super) fn trash_of(&self, step: u64) -> PathBuf {
        self.in_dir(&format!("{}{step:06}", name::TRASH))
    }

    pub(super) fn in_dir(&self, name: &str) -> PathBuf {
        self.checkpoints.dir.join(name)
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.checkpoints.fs.rename(from, to).context(|| format!("renaming {} to {}", from.display(), to.display()))
    }

    pub(super) fn sync_parent(&self) -> Result<()> {
        self.checkpoints.fs.sync_dir(&self.checkpoints.dir).context(|| format!("syncing {}", self.checkpoints.dir.display()))
    }
}
