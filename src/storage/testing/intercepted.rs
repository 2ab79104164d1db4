//! A file system in front of another that asks a function about every call: let it through, skip it and say that all is well, or fail.

use crate::storage::{Entry, FileSystem, Metadata, StoredFile};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a call is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    CreateDir,
    Create,
    Append,
    Open,
    Read,
    Write,
    Sync,
    SyncDir,
    Rename,
    RemoveFile,
    RemoveDir,
    List,
    Metadata,
    FreeSpace,
}

impl Operation {
    /// Whether a full disk can refuse it.
    pub fn needs_space(self) -> bool {
        matches!(self, Self::CreateDir | Self::Create | Self::Append | Self::Write | Self::Sync | Self::SyncDir | Self::Rename)
    }
}

/// A call before it is made.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What it does.
    pub operation: Operation,
    /// What it does it to; of a rename, the old name.
    pub path: &'a Path,
    /// The new name of a rename.
    pub to: Option<&'a Path>,
}

/// What becomes of a call.
#[derive(Debug)]
pub enum Answer {
    /// It is made.
    Pass,
    /// It is not made, and reported as done. A call that has a result to give is made all the same.
    Skip,
    /// It is not made, and fails.
    Fail(io::Error),
    /// A write writes half of its bytes, and the call fails; any other call fails outright.
    FailHalfWay(io::Error),
}

type Decide = Arc<dyn Fn(Call<'_>) -> Answer + Send + Sync>;

/// A file system whose every call is decided by a function.
pub struct InterceptedFileSystem<F> {
    inner: F,
    decide: Decide,
}

impl<F: FileSystem> InterceptedFileSystem<F> {
    /// Asks `decide` before each call to `inner`.
    pub fn new(inner: F, decide: impl Fn(Call<'_>) -> Answer + Send + Sync + 'static) -> Self {
        Self { inner, decide: Arc::new(decide) }
    }

    /// The file system behind.
    pub fn inner(&self) -> &F {
        &self.inner
    }

    /// For calls without a result: made, skipped or failed.
    fn act(&self, operation: Operation, path: &Path, to: Option<&Path>, call: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match (self.decide)(Call { operation, path, to }) {
            Answer::Pass => call(),
            Answer::Skip => Ok(()),
            Answer::Fail(error) | Answer::FailHalfWay(error) => Err(error),
        }
    }

    /// For calls with a result: made or failed.
    fn ask<T>(&self, operation: Operation, path: &Path, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match (self.decide)(Call { operation, path, to: None }) {
            Answer::Pass | Answer::Skip => call(),
            Answer::Fail(error) | Answer::FailHalfWay(error) => Err(error),
        }
    }

    fn wrap<H: ?Sized>(&self, path: &Path, inner: Box<H>) -> Handle<H> {
        Handle { inner, path: path.to_owned(), decide: Arc::clone(&self.decide) }
    }
}

struct Handle<H: ?Sized> {
    inner: Box<H>,
    path: PathBuf,
    decide: Decide,
}

impl<H: ?Sized> Handle<H> {
    fn decide(&self, operation: Operation) -> Answer {
        (self.decide)(Call { operation, path: &self.path, to: None })
    }
}

impl Write for Handle<dyn StoredFile> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self.decide(Operation::Write) {
            Answer::Pass => self.inner.write(buffer),
            Answer::Skip => Ok(buffer.len()),
            Answer::Fail(error) => Err(error),
            Answer::FailHalfWay(error) => self.inner.write_all(&buffer[..buffer.len() / 2]).and(Err(error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl StoredFile for Handle<dyn StoredFile> {
    fn sync(&mut self) -> io::Result<()> {
        match self.decide(Operation::Sync) {
            Answer::Pass => self.inner.sync(),
            Answer::Skip => Ok(()),
            Answer::Fail(error) | Answer::FailHalfWay(error) => Err(error),
        }
    }
}

impl Read for Handle<dyn Read> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.decide(Operation::Read) {
            Answer::Pass | Answer::Skip => self.inner.read(buffer),
            Answer::Fail(error) | Answer::FailHalfWay(error) => Err(error),
        }
    }
}

impl<F: FileSystem> FileSystem for InterceptedFileSystem<F> {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.act(Operation::CreateDir, path, None, || self.inner.create_dir(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        let file = self.ask(Operation::Create, path, || self.inner.create(path))?;
        Ok(Box::new(self.wrap(path, file)))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        let file = self.ask(Operation::Append, path, || self.inner.append(path))?;
        Ok(Box::new(self.wrap(path, file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        let file = self.ask(Operation::Open, path, || self.inner.open(path))?;
        Ok(Box::new(self.wrap(path, file)))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.act(Operation::SyncDir, path, None, || self.inner.sync_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.act(Operation::Rename, from, Some(to), || self.inner.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.act(Operation::RemoveFile, path, None, || self.inner.remove_file(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.act(Operation::RemoveDir, path, None, || self.inner.remove_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.ask(Operation::List, path, || self.inner.list(path))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.ask(Operation::Metadata, path, || self.inner.metadata(path))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.ask(Operation::FreeSpace, path, || self.inner.free_space(path))
    }
}
