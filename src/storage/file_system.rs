//! What a file system can do, as an interface: the real one and the doubles of `testing` implement it. How calls are combined so that
//! a power cut loses nothing is the business of `atomic`, `append` and `run`'s checkpoints.

use crate::{Context, Error, Result};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

/// What a file system can do. Nothing is durable before the sync that its method names; every method can fail.
///
/// Two promises are relied on, both of POSIX: [`rename`](Self::rename) is atomic, and a sync that returns `Ok` has put everything that
/// was written before it on the medium.
pub trait FileSystem: Send + Sync {
    /// Makes one directory; an error of kind `AlreadyExists` when there is one. Durable once the parent is synced.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes an empty file, or empties the one there is. The content is durable once the file is synced, its name once the parent is.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// Opens a file to write at its end; makes it when there is none.
    fn append(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// Opens a file to read from its start.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>>;

    /// Makes creations, renames and removals in this directory durable; says nothing of what is inside the files.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Gives a file or directory another name, atomically; a file of that name is replaced. Durable once the parent is synced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable once the parent is synced.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory. Durable once the parent is synced.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// What a directory holds, by name, in no order that means anything.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Kind and length of what is there; a symbolic link is not followed.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Bytes that can still be written in this directory; `u64::MAX` where the system does not say.
    fn free_space(&self, path: &Path) -> io::Result<u64>;

    /// Whether something is there.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A file being written.
pub trait StoredFile: Write + Send {
    /// Puts all that was written on the medium. Never retried after an error: the system may have dropped what it could not write.
    fn sync(&mut self) -> io::Result<()>;
}

/// What a directory lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name; a part that is not Unicode is replaced.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, a device, a socket.
    Other,
}

/// Kind and length of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: EntryKind,
    /// Bytes; 0 unless it is a file.
    pub len: u64,
}

/// Reads a whole file of at most `limit` bytes; a longer one is an error before its memory is taken.
pub fn read_capped(fs: &dyn FileSystem, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let file = fs.open(path).context(|| format!("reading {}", path.display()))?;
    file.take(limit.saturating_add(1)).read_to_end(&mut content).context(|| format!("reading {}", path.display()))?;
    if content.len() as u64 > limit {
        return Err(Error::input(format!("{} is longer than {limit} bytes", path.display())));
    }
    Ok(content)
}

/// Whether an error is a full disk or an exhausted quota: something that may pass, so that a trainer warns, goes on and tries later.
pub fn is_out_of_space(error: &Error) -> bool {
    matches!(error.io_kind(), Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}
