//! One checkpoint that was found whole: where its files are, and what they stand for.

use super::{CompleteRecord, FileRecord, Fingerprints};
use crate::storage::{FileSystem, read_capped};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// A checkpoint whose `COMPLETE`, lengths and hashes were verified when it was opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    path: PathBuf,
    record: CompleteRecord,
}

impl Checkpoint {
    pub(super) fn new(path: PathBuf, record: CompleteRecord) -> Self {
        Self { path, record }
    }

    /// Optimizer steps taken.
    pub fn step(&self) -> u64 {
        self.record.step
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its state depends on.
    pub fn fingerprints(&self) -> &Fingerprints {
        &self.record.fingerprints
    }

    /// Loss on held-out data at this step, where it was measured.
    pub fn held_out_loss(&self) -> Option<f64> {
        self.record.held_out_loss
    }

    /// Every file but `COMPLETE`.
    pub fn files(&self) -> &[FileRecord] {
        &self.record.files
    }

    /// The path of one of its files; an error when it holds none of that name.
    pub fn file_path(&self, name: &str) -> Result<PathBuf> {
        self.file(name).map(|file| self.path.join(&file.name))
    }

    /// The content of one of its files.
    pub fn read(&self, fs: &dyn FileSystem, name: &str) -> Result<Vec<u8>> {
        let file = self.file(name)?;
        read_capped(fs, &self.path.join(&file.name), file.size)
    }

    pub(super) fn is_of(&self, record: &CompleteRecord) -> bool {
        &self.record == record
    }

    fn file(&self, name: &str) -> Result<&FileRecord> {
        let found = self.record.files.iter().find(|file| file.name == name);
        found.ok_or_else(|| Error::input(format!("{} holds no {name}", self.path.display())))
    }
}
