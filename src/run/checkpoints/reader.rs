//! Looking at checkpoints without changing anything: listing, verifying, finding the newest whole one. Needs no lock, so chat, export
//! and status use it on a run that is being written.

use super::record::{self, CompleteRecord, FileRecord, Unreadable};
use super::{Checkpoint, name};
use crate::storage::{EntryKind, FileSystem, hash_reader};
use crate::{Context, Error, Result};
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The checkpoints of a run, to be read.
#[derive(Clone)]
pub struct Checkpoints<'fs> {
    pub(super) fs: &'fs dyn FileSystem,
    pub(super) dir: PathBuf,
}

/// The newest whole checkpoint, and those newer than it that are not.
#[derive(Debug, Default)]
pub struct Latest {
    /// The one with the highest step that verifies.
    pub checkpoint: Option<Checkpoint>,
    /// Those of higher steps that do not, newest first.
    pub damaged: Vec<DamagedCheckpoint>,
}

/// A checkpoint that does not verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedCheckpoint {
    /// The step that its name claims.
    pub step: u64,
    /// Where it is now.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// A sentence for people, of one that another is used in place of.
impl fmt::Display for DamagedCheckpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the checkpoint of step {} is damaged ({}) and not used", self.step, self.reason)
    }
}

/// Why a checkpoint cannot be used.
pub(super) enum Unusable {
    /// Its content is not what was written.
    Damaged(String),
    /// Something else: a newer format, no permission, too many open files.
    Failed(Error),
}

impl<'fs> Checkpoints<'fs> {
    /// The checkpoints in `dir`, a run's `checkpoints/`, which may be absent.
    pub fn new(fs: &'fs dyn FileSystem, dir: impl Into<PathBuf>) -> Self {
        Self { fs, dir: dir.into() }
    }

    /// The steps of all checkpoints, ascending. Nothing is verified.
    pub fn steps(&self) -> Result<Vec<u64>> {
        let entries = match self.fs.list(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            entries => entries.context(|| format!("listing {}", self.dir.display()))?,
        };
        let directories = entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
        let mut steps: Vec<u64> = directories.filter_map(|entry| name::step_of(&entry.name)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// What `COMPLETE` says of each checkpoint that has a readable one, by ascending step. The files are not looked at.
    pub fn list(&self) -> Result<Vec<CompleteRecord>> {
        Ok(self.steps()?.into_iter().filter_map(|step| self.record(step).ok()).collect())
    }

    /// The checkpoint of `step`, verified; the user's error when there is none or it is damaged.
    pub fn open(&self, step: u64) -> Result<Checkpoint> {
        let path = self.path_of(step);
        if !self.fs.exists(&path).context(|| format!("looking at {}", path.display()))? {
            let steps: Vec<String> = self.steps()?.iter().map(u64::to_string).collect();
            let hint = if steps.is_empty() { "there is none yet".to_owned() } else { format!("there are {}", steps.join(", ")) };
            return Err(Error::input(format!("{} does not exist", path.display())).hint(hint));
        }
        self.verify(step).map_err(|unusable| match unusable {
            Unusable::Damaged(reason) => Error::input(format!("{} is damaged: {reason}", path.display())),
            Unusable::Failed(error) => error,
        })
    }

    /// The whole checkpoint with the highest step, and the damaged ones that were passed over. Reads every byte of what it looks at. While
    /// a trainer saves and prunes, what is looked at may go: then it looks again.
    pub fn latest(&self) -> Result<Latest> {
        const NUM_LOOKS: usize = 5;
        for _ in 1..NUM_LOOKS {
            let latest = self.look_for_latest()?;
            let gone = latest.damaged.iter().find(|damaged| matches!(self.fs.exists(&damaged.path), Ok(false)));
            if gone.is_none() {
                return Ok(latest);
            }
        }
        self.look_for_latest()
    }

    fn look_for_latest(&self) -> Result<Latest> {
        let mut latest = Latest::default();
        for step in self.steps()?.into_iter().rev() {
            match self.verify(step) {
                Ok(checkpoint) => {
                    latest.checkpoint = Some(checkpoint);
                    break;
                }
                Err(Unusable::Damaged(reason)) => latest.damaged.push(DamagedCheckpoint { step, path: self.path_of(step), reason }),
                Err(Unusable::Failed(error)) => return Err(error),
            }
        }
        Ok(latest)
    }

    /// Where the checkpoint of `step` is, or would be.
    pub fn path_of(&self, step: u64) -> PathBuf {
        self.dir.join(name::of_step(step))
    }

    /// Reads every byte of a checkpoint. What cannot be read is read once more: a disk may stumble, and a checkpoint is worth a retry.
    pub(super) fn verify(&self, step: u64) -> std::result::Result<Checkpoint, Unusable> {
        self.verify_once(step).or_else(|_| self.verify_once(step))
    }

    fn verify_once(&self, step: u64) -> std::result::Result<Checkpoint, Unusable> {
        let record = self.record(step)?;
        let path = self.path_of(step);
        for file in &record.files {
            self.verify_file(&path, file)?;
        }
        Ok(Checkpoint::new(path, record))
    }

    fn record(&self, step: u64) -> std::result::Result<CompleteRecord, Unusable> {
        let path = self.path_of(step).join(name::COMPLETE);
        let size = self.file_size(&path)?;
        if size > record::MAX_BYTES {
            return Err(Unusable::Damaged(format!("COMPLETE has {size} bytes")));
        }
        let mut content = Vec::new();
        let read = self.fs.open(&path).and_then(|file| file.take(record::MAX_BYTES).read_to_end(&mut content));
        read.map_err(|error| judge(error, &path))?;
        match record::unseal(&content) {
            Ok(record) if record.step == step => Ok(record),
            Ok(record) => Err(Unusable::Damaged(format!("COMPLETE is of step {}", record.step))),
            Err(Unreadable::Damaged(reason)) => Err(Unusable::Damaged(reason)),
            Err(Unreadable::Newer(format)) => Err(Unusable::Failed(newer(&path, format))),
        }
    }

    fn verify_file(&self, dir: &Path, file: &FileRecord) -> std::result::Result<(), Unusable> {
        let path = dir.join(&file.name);
        let size = self.file_size(&path)?;
        if size != file.size {
            return Err(Unusable::Damaged(format!("{} has {size} bytes instead of {}", file.name, file.size)));
        }
        let read = self.fs.open(&path).and_then(|content| hash_reader(content.take(file.size)));
        let (hash, _) = read.map_err(|error| judge(error, &path))?;
        if hash != file.blake3 {
            return Err(Unusable::Damaged(format!("{} is not what was written: its hash differs", file.name)));
        }
        Ok(())
    }

    fn file_size(&self, path: &Path) -> std::result::Result<u64, Unusable> {
        let metadata = self.fs.metadata(path).map_err(|error| judge(error, path))?;
        if metadata.kind != EntryKind::File {
            return Err(Unusable::Damaged(format!("{} is not a file", path.display())));
        }
        Ok(metadata.len)
    }
}

fn newer(path: &Path, format: u32) -> Error {
    let message = format!("{} has format {format}, and this program reads up to {}", path.display(), record::FORMAT);
    Error::input(message).hint("use the version of bitnet that wrote it")
}

/// An absent file or an unreadable sector is damage; a lack of permission or of file handles says nothing about the content.
fn judge(error: io::Error, path: &Path) -> Unusable {
    const UNREADABLE_SECTOR: i32 = 5; // EIO, on every Unix.
    let is_absent = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::NotADirectory);
    if is_absent || error.raw_os_error() == Some(UNREADABLE_SECTOR) {
        Unusable::Damaged(format!("{}: {error}", path.display()))
    } else {
        Unusable::Failed(Error::from(error).context(format!("reading {}", path.display())))
    }
}
