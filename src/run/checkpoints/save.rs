//! Writing a checkpoint: what is saved, and the steps from an empty temporary directory to the commit point.

use super::record::{self, CompleteRecord, FileRecord, Fingerprints};
use super::{Checkpoint, CheckpointStore, name};
use crate::storage::{HashingWriter, create_dir_durably, remove_tree};
use crate::{Context, Error, Result};
use std::io::{BufWriter, Write};
use std::path::Path;

/// What a checkpoint is of.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointLabel {
    /// Optimizer steps taken.
    pub step: u64,
    /// What the state depends on.
    pub fingerprints: Fingerprints,
    /// Loss on held-out data at this step, where it was measured; the checkpoint with the lowest is never pruned.
    pub held_out_loss: Option<f64>,
}

type WriteContent<'a> = Box<dyn FnOnce(&mut dyn Write) -> Result<()> + 'a>;

/// A file to be saved: its name and how to write it.
pub struct NewFile<'a> {
    name: &'a str,
    size: u64,
    write: WriteContent<'a>,
}

impl<'a> NewFile<'a> {
    /// A file with this content.
    pub fn bytes(name: &'a str, content: &'a [u8]) -> Self {
        Self::streamed(name, content.len() as u64, |writer| Ok(writer.write_all(content)?))
    }

    /// A file that `write` writes piece by piece; it is never held in memory. `size`, in bytes, is what the free space is checked for;
    /// the record takes the true length.
    pub fn streamed(name: &'a str, size: u64, write: impl FnOnce(&mut dyn Write) -> Result<()> + 'a) -> Self {
        Self { name, size, write: Box::new(write) }
    }
}

/// A save that was acknowledged.
#[derive(Debug)]
pub struct SaveOutcome {
    /// What is now on the disk.
    pub checkpoint: Checkpoint,
    /// Whether the same checkpoint, byte for byte, was there already and stayed.
    pub was_there: bool,
    /// Steps of the checkpoints that were removed.
    pub pruned: Vec<u64>,
    /// Why older checkpoints could not be removed; the save itself is good.
    pub prune_failure: Option<Error>,
    /// Whether the directory of checkpoints had been removed, with all that were in it, and was made anew.
    pub was_dir_gone: bool,
}

/// Whether a save that the disk seems to have no room for is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Not begun: older checkpoints are worth more than the try.
    IfThereIsRoom,
    /// For the state that nothing comes after: a full disk is what the writing finds.
    InAnyCase,
}

/// Bytes gathered before a write call.
const BUFFER_BYTES: usize = 1 << 17;
/// Space that must be free beside a tenth more than what is written: `COMPLETE`, the rows of logs, and the last block of each file.
const SPARE_BYTES: u64 = 256 << 10;
/// So many checkpoints stay when the disk is nearly full.
const KEEP_WHEN_FULL: usize = 2;

impl CheckpointStore<'_> {
    /// Saves a checkpoint. After `Ok` no power cut loses it; after an error every older one is as it was, and the next save starts
    /// afresh. Older ones are pruned after the commit, or before it when the disk is nearly full.
    ///
    /// A checkpoint of the same step is left alone when it is the same to the byte, and else replaced without a moment at which neither
    /// is there.
    ///
    /// # Errors
    /// [`is_out_of_space`](crate::storage::is_out_of_space) tells a full disk from other failures.
    pub fn save(&mut self, label: &CheckpointLabel, files: Vec<NewFile<'_>>) -> Result<SaveOutcome> {
        self.save_as(Begin::IfThereIsRoom, label, files)
    }

    /// [`Self::save`] in the case that `begin` says.
    ///
    /// # Errors
    /// Those of [`Self::save`].
    pub fn save_as(&mut self, begin: Begin, label: &CheckpointLabel, files: Vec<NewFile<'_>>) -> Result<SaveOutcome> {
        let was_dir_gone = self.make_dir_again()?;
        let temporary = self.checkpoints.dir.join(format!("{}{:06}-{}", name::TEMPORARY, label.step, std::process::id()));
        let saved = self.write_and_commit(begin, label, files, &temporary);
        if saved.is_err() {
            let _ = remove_tree(self.checkpoints.fs, &temporary); // What stays is removed by the next save, or at the next start.
        }
        let (checkpoint, was_there) = saved.context(|| format!("saving the checkpoint of step {}", label.step))?;
        self.newest_valid = self.newest_valid.max(Some(label.step));
        let (pruned, prune_failure) = match self.prune(self.keep_last) {
            Ok(pruned) => (pruned, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        Ok(SaveOutcome { checkpoint, was_there, pruned, prune_failure, was_dir_gone })
    }

    fn write_and_commit(
        &mut self,
        begin: Begin,
        label: &CheckpointLabel,
        files: Vec<NewFile<'_>>,
        temporary: &Path,
    ) -> Result<(Checkpoint, bool)> {
        self.clean()?;
        let room = self.make_room(files.iter().map(|file| file.size).sum());
        if begin == Begin::IfThereIsRoom {
            room?;
        }
        let record = self.write(label, files, temporary)?;
        let was_there = self.commit(&record, temporary)?;
        Ok((Checkpoint::new(self.checkpoints.path_of(label.step), record), was_there))
    }

    /// Makes the directory again where somebody removed it; whether it was gone. A run that was removed as a whole stays removed.
    fn make_dir_again(&mut self) -> Result<bool> {
        let (fs, dir) = (self.checkpoints.fs, self.checkpoints.dir.as_path());
        if fs.exists(dir).context(|| format!("looking at {}", dir.display()))? {
            return Ok(false);
        }
        let run = dir.parent().unwrap_or(dir);
        if !fs.exists(run).context(|| format!("looking at {}", run.display()))? {
            return Err(Error::ours(format!("{} is gone: it was removed or renamed while the run was trained", run.display())));
        }
        create_dir_durably(fs, dir)?;
        (self.newest_valid, self.resumed_from) = (None, None);
        Ok(true)
    }

    fn make_room(&mut self, size: u64) -> Result<()> {
        let needed = size.saturating_add(size / 10).saturating_add(SPARE_BYTES);
        if self.free_space() >= needed {
            return Ok(());
        }
        self.prune(KEEP_WHEN_FULL.min(self.keep_last))?;
        let free = self.free_space();
        if free >= needed {
            return Ok(());
        }
        let message = format!("{} has {free} bytes free, and {needed} are needed", self.checkpoints.dir.display());
        Err(std::io::Error::new(std::io::ErrorKind::StorageFull, message).into())
    }

    /// Where the system does not tell, the writing itself will.
    fn free_space(&self) -> u64 {
        self.checkpoints.fs.free_space(&self.checkpoints.dir).unwrap_or(u64::MAX)
    }

    /// Each file and then `COMPLETE`, all synced, in the directory `temporary`, synced too.
    fn write(&self, label: &CheckpointLabel, files: Vec<NewFile<'_>>, temporary: &Path) -> Result<CompleteRecord> {
        let fs = self.checkpoints.fs;
        fs.create_dir(temporary).context(|| format!("creating {}", temporary.display()))?;
        let files = files.into_iter().map(|file| self.write_file(file, temporary)).collect::<Result<_>>()?;
        let record = CompleteRecord {
            format: record::FORMAT,
            step: label.step,
            fingerprints: label.fingerprints.clone(),
            held_out_loss: label.held_out_loss.filter(|loss| loss.is_finite()),
            files,
        };
        record::check_names(&record).map_err(Error::ours)?;
        let sealed = record::seal(&record)?;
        let complete = NewFile::bytes(name::COMPLETE, &sealed);
        self.write_file(complete, temporary)?;
        fs.sync_dir(temporary).context(|| format!("syncing {}", temporary.display()))?;
        Ok(record)
    }

    fn write_file(&self, file: NewFile<'_>, dir: &Path) -> Result<FileRecord> {
        if !name::is_file_name(file.name) && file.name != name::COMPLETE {
            return Err(Error::ours(format!("a checkpoint cannot hold a file named {:?}", file.name)));
        }
        let path = dir.join(file.name);
        let (size, blake3) = self.stream(&path, file.write).context(|| format!("writing {}", path.display()))?;
        Ok(FileRecord { name: file.name.to_owned(), size, blake3 })
    }

    fn stream(&self, path: &Path, write: WriteContent<'_>) -> Result<(u64, String)> {
        let stored = self.checkpoints.fs.create(path)?;
        let mut writer = HashingWriter::new(BufWriter::with_capacity(BUFFER_BYTES, stored));
        write(&mut writer)?;
        let (buffered, hash, size) = writer.finish();
        let mut stored = buffered.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        stored.sync()?;
        Ok((size, hash))
    }

    /// Gives the finished directory its name. Returns whether the same checkpoint was there already.
    fn commit(&self, record: &CompleteRecord, temporary: &Path) -> Result<bool> {
        let fs = self.checkpoints.fs;
        let target = self.checkpoints.path_of(record.step);
        let is_taken = fs.exists(&target).context(|| format!("looking at {}", target.display()))?;
        if !is_taken {
            return self.rename_and_sync(temporary, &target).map(|()| false);
        }
        if self.checkpoints.verify(record.step).is_ok_and(|found| found.is_of(record)) {
            remove_tree(fs, temporary).context(|| format!("removing {}", temporary.display()))?;
            self.sync_parent()?;
            return Ok(true);
        }
        self.replace(record.step, temporary, &target).map(|()| false)
    }

    /// At every moment the old checkpoint or the new one is there, whichever of the two renames a power cut undoes; `clean` brings the
    /// old one back if the new one did not arrive.
    fn replace(&self, step: u64, temporary: &Path, target: &Path) -> Result<()> {
        self.rename(target, &self.replaced_path_of(step))?;
        let replaced = self.rename_and_sync(temporary, target);
        let settled = self.settle_replaced(step);
        replaced.and(settled)
    }

    /// The commit point. When it fails the directory is taken back, so that a later save of the same step starts afresh: an fsync that
    /// failed is never tried again on the same data.
    fn rename_and_sync(&self, temporary: &Path, target: &Path) -> Result<()> {
        self.rename(temporary, target)?;
        let synced = self.sync_parent();
        if synced.is_err() {
            let _ = self.rename(target, temporary);
        }
        synced
    }
}
