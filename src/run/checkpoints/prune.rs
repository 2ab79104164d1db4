//! Removing old checkpoints: which may go, and how they go without ever looking like a whole one.

use super::{Checkpoint, CheckpointStore};
use crate::storage::remove_tree;
use crate::{Context, Result};
use std::collections::BTreeSet;

impl CheckpointStore<'_> {
    /// Removes all but the newest `keep`, the newest that is known to be whole, the one resumed from, the pinned one and the best. Each is renamed, the
    /// renames are synced, and only then is anything inside removed: no half-removed checkpoint ever has a checkpoint's name.
    pub(super) fn prune(&mut self, keep: usize) -> Result<Vec<u64>> {
        let victims = self.victims(keep)?;
        if victims.is_empty() {
            return Ok(victims);
        }
        let trash: Vec<_> = victims.iter().map(|step| self.trash_of(*step)).collect();
        for (step, path) in victims.iter().zip(&trash) {
            self.rename(&self.checkpoints.path_of(*step), path)?;
        }
        self.sync_parent()?;
        for path in &trash {
            remove_tree(self.checkpoints.fs, path).context(|| format!("removing {}", path.display()))?;
        }
        Ok(victims)
    }

    fn victims(&mut self, keep: usize) -> Result<Vec<u64>> {
        let steps = self.checkpoints.steps()?;
        if steps.len() <= keep {
            return Ok(Vec::new());
        }
        if self.newest_valid.is_none() {
            self.newest_valid = self.checkpoints.latest()?.checkpoint.as_ref().map(Checkpoint::step);
        }
        let mut kept: BTreeSet<u64> = steps.iter().rev().take(keep).copied().collect();
        kept.extend(self.newest_valid);
        kept.extend(self.resumed_from);
        kept.extend(self.pinned);
        kept.extend(self.best()?);
        Ok(steps.into_iter().filter(|step| !kept.contains(step)).collect())
    }

    /// The step with the lowest held-out loss, the newest of equals. It is on the disk, so a restart knows it too.
    fn best(&self) -> Result<Option<u64>> {
        let measured = self.checkpoints.list()?.into_iter().filter_map(|record| record.held_out_loss.map(|loss| (loss, record.step)));
        let best = measured.min_by(|(loss, step), (other_loss, other_step)| loss.total_cmp(other_loss).then(other_step.cmp(step)));
        Ok(best.map(|(_, step)| step))
    }
}
