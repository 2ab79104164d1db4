//! A file that grows under a name of its own until it is whole and verified, then gets its final one. What is there of it is hashed when
//! it is opened, so that a download can go on where an earlier one stopped.

use super::Content;
use super::verify::Hasher;
use crate::storage::{FileSystem, StoredFile, is_out_of_space};
use crate::{Context, Error, Result};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

const BUFFER_BYTES: usize = 1 << 16;

/// A file that grows.
pub(super) struct Partial<'a> {
    fs: &'a dyn FileSystem,
    path: PathBuf,
    size: u64,
    content: &'a Content,
    file: Box<dyn StoredFile>,
    hasher: Hasher,
    len: u64,
    /// Whether bytes of an earlier download are in it.
    is_continued: bool,
    /// Whether more came than it can hold.
    is_overlong: bool,
}

impl<'a> Partial<'a> {
    /// Goes on with the file at `path`, if there is one that can become `size` bytes.
    pub(super) fn open(fs: &'a dyn FileSystem, path: PathBuf, size: u64, content: &'a Content) -> Result<Self> {
        let (hasher, len) = hashed(fs, &path, size, content)?.unwrap_or_else(|| (content.hasher(size), 0));
        let file = if len > 0 { fs.append(&path) } else { fs.create(&path) };
        let file = file.map_err(|error| unwritable(error, &path))?;
        Ok(Self { fs, path, size, content, file, hasher, len, is_continued: len > 0, is_overlong: false })
    }

    /// Bytes that are there.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether bytes of an earlier download are in it, which may be what is wrong with it.
    pub(super) fn is_continued(&self) -> bool {
        self.is_continued
    }

    /// Whether more came than it can hold: what is in it is of no use.
    pub(super) fn is_overlong(&self) -> bool {
        self.is_overlong
    }

    pub(super) fn is_complete(&self) -> bool {
        self.len == self.size
    }

    /// Empties it.
    pub(super) fn start_over(&mut self) -> Result<()> {
        self.file = self.fs.create(&self.path).map_err(|error| unwritable(error, &self.path))?;
        (self.hasher, self.len, self.is_continued) = (self.content.hasher(self.size), 0, false);
        Ok(())
    }

    /// Appends.
    ///
    /// # Errors
    /// More bytes than the file has, or a disk that does not take them.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.len + bytes.len() as u64 > self.size {
            self.is_overlong = true;
            return Err(Error::ours(format!("the server sends more than the {} bytes that it lists", self.size)));
        }
        self.file.write_all(bytes).map_err(|error| unwritable(error, &self.path))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Gives the whole file its final name if its content is right; otherwise removes it, and says what the hash is.
    pub(super) fn finish(self, to: &Path) -> Result<std::result::Result<(), String>> {
        let Self { fs, path, content, mut file, hasher, .. } = self;
        let hash = hasher.finish();
        if hash != content.hash() {
            drop(file);
            fs.remove_file(&path).context(|| format!("removing {}", path.display()))?;
            return Ok(Err(hash));
        }
        file.sync().map_err(|error| unwritable(error, &path))?;
        drop(file);
        fs.rename(&path, to).context(|| format!("renaming {}", path.display()))?;
        fs.sync_dir(to.parent().unwrap_or(to)).context(|| format!("syncing the directory of {}", to.display()))?;
        Ok(Ok(()))
    }

    /// Removes it: what is in it is of no use.
    pub(super) fn discard(self) {
        drop(self.file);
        let _ = self.fs.remove_file(&self.path); // What is wrong with it is the error to be seen.
    }
}

/// The hash and length of what an earlier download left; none if that is nothing, or more than the file has.
fn hashed(fs: &dyn FileSystem, path: &Path, size: u64, content: &Content) -> Result<Option<(Hasher, u64)>> {
    let mut file = match fs.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::from(error).context(format!("reading {}", path.display()))),
    };
    let (mut hasher, mut len, mut buffer) = (content.hasher(size), 0, vec![0; BUFFER_BYTES]);
    loop {
        let num_read = file.read(&mut buffer).context(|| format!("reading {}", path.display()))?;
        if num_read == 0 {
            return Ok((len <= size).then_some((hasher, len)));
        }
        hasher.update(&buffer[..num_read]);
        len += num_read as u64;
    }
}

fn unwritable(error: std::io::Error, path: &Path) -> Error {
    let error = Error::from(error).context(format!("writing {}", path.display()));
    if is_out_of_space(&error) {
        return error.hint("make room, or set HF_HOME to a directory on a larger disk; what is there of it is kept");
    }
    error
}
