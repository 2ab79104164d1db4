//! One log being written: its beginning, its continuation after a resume, its rows.

use super::read::{Line, read_if_present, scan};
use super::row::{self, LogRow};
use crate::Result;
use crate::storage::{AppendFile, FileSystem, write_atomically};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// A log that grows by one write call a row. Rows are durable after [`sync`](Self::sync), which every checkpoint does before its commit.
pub struct Log<'fs, R> {
    file: AppendFile<'fs>,
    row: PhantomData<fn(&R)>,
}

impl<'fs, R: LogRow> Log<'fs, R> {
    /// Begins the log at `path`, or goes on with all that is whole in it.
    pub fn open(fs: &'fs dyn FileSystem, path: &Path) -> Result<Self> {
        Self::open_for_resume(fs, path, u64::MAX)
    }

    /// Goes on with the log after `step`: rows beyond it, a torn last line and damaged lines are dropped, before anything is appended.
    /// When more than a torn last line goes, the log as it was stays beside it as `<name>.bak`. Events are never cut.
    pub fn open_for_resume(fs: &'fs dyn FileSystem, path: &Path, step: u64) -> Result<Self> {
        let old = read_if_present(fs, path)?;
        let content = old.as_deref().unwrap_or_default();
        let (kept, cut): (Vec<_>, Vec<_>) = scan::<R>(content).into_iter().partition(|line| stays(line, step));
        let wanted = text_of(content, &kept)?;
        if !cut.is_empty() {
            write_atomically(fs, &backup_of(path), content)?;
        }
        if old.as_ref() != Some(&wanted) {
            write_atomically(fs, path, &wanted)?;
        }
        Ok(Self { file: AppendFile::open(fs, path)?, row: PhantomData })
    }

    /// Appends a row in one write call.
    ///
    /// # Errors
    /// A row that the format cannot hold is not taken. One that the disk refuses is kept, and [`sync`](Self::sync) tries again.
    pub fn append(&mut self, row: &R) -> Result<()> {
        self.file.append(&row::encode(row)?)
    }

    /// Makes all rows so far durable.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync()
    }
}

fn stays<R: LogRow>(line: &Line<'_, R>, step: u64) -> bool {
    line.row.as_ref().is_some_and(|row| !R::IS_CUT || row.step() <= step)
}

/// The kept lines under today's header; written anew where the old header has other columns or another order.
fn text_of<R: LogRow>(old: &[u8], kept: &[Line<'_, R>]) -> Result<Vec<u8>> {
    let mut text = row::header::<R>();
    let is_same_header = old.starts_with(&text);
    for line in kept {
        match &line.row {
            Some(row) if !is_same_header => text.extend(row::encode(row)?),
            _ => text.extend_from_slice(line.text),
        }
    }
    Ok(text)
}

fn backup_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".bak");
    name.into()
}
