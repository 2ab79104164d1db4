//! A file that grows line by line: one write call a line, so that a reader or a crash can tear the last line only. What a full disk
//! refuses is kept in memory and written later, so that no line is lost and none is spoilt by a torn one before it.

use super::{FileSystem, StoredFile, atomic::parent_of, write_atomically};
use crate::{Context, Error, Result};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// A file that grows line by line. What was appended is durable after [`sync`](Self::sync).
pub struct AppendFile<'fs> {
    fs: &'fs dyn FileSystem,
    path: PathBuf,
    file: Box<dyn StoredFile>,
    /// Bytes that the file had when it was opened or last synced.
    synced_len: u64,
    /// Everything appended since.
    unsynced: Vec<u8>,
    /// Whether the file holds both; not after a failed write or sync, which may leave a torn line or drop whole ones.
    is_whole: bool,
}

impl<'fs> AppendFile<'fs> {
    /// Opens the file at `path` at its end, or makes it; its name is durable when this returns.
    pub fn open(fs: &'fs dyn FileSystem, path: &Path) -> Result<Self> {
        let synced_len = match fs.metadata(path) {
            Ok(metadata) => Some(metadata.len),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Error::from(error).context(format!("looking at {}", path.display()))),
        };
        let file = fs.append(path).context(|| format!("opening {}", path.display()))?;
        if synced_len.is_none() {
            fs.sync_dir(parent_of(path)).context(|| format!("syncing the directory of {}", path.display()))?;
        }
        let synced_len = synced_len.unwrap_or(0);
        Ok(Self { fs, path: path.to_owned(), file, synced_len, unsynced: Vec::new(), is_whole: true })
    }

    /// Appends `line`, which ends in a newline, in one call.
    ///
    /// # Errors
    /// The line could not be written. It is kept, as are all that follow, and the next [`sync`](Self::sync) tries again.
    pub fn append(&mut self, line: &[u8]) -> Result<()> {
        self.unsynced.extend_from_slice(line);
        if !self.is_whole {
            return Err(Error::ours(format!("{} cannot be written for now", self.path.display())));
        }
        let written = self.file.write_all(line);
        self.is_whole = written.is_ok();
        written.context(|| format!("writing {}", self.path.display()))
    }

    /// Puts every line so far on the medium, those that could not be written before included.
    ///
    /// # Errors
    /// Not all lines are on the medium. None is lost: the next call tries again.
    pub fn sync(&mut self) -> Result<()> {
        if !self.is_whole {
            self.rewrite()?;
        }
        let synced = self.file.sync(); // never tried again on the same file
        self.is_whole = synced.is_ok();
        synced.context(|| format!("syncing {}", self.path.display()))?;
        self.synced_len += self.unsynced.len() as u64;
        self.unsynced.clear();
        Ok(())
    }

    /// Puts a new file in the place of one of which only the synced beginning can be trusted.
    fn rewrite(&mut self) -> Result<()> {
        let mut content = Vec::new();
        let opened = self.fs.open(&self.path);
        opened
            .and_then(|file| file.take(self.synced_len).read_to_end(&mut content))
            .context(|| format!("reading {}", self.path.display()))?;
        if content.len() as u64 != self.synced_len {
            return Err(Error::ours(format!("{} has {} bytes instead of {}", self.path.display(), content.len(), self.synced_len)));
        }
        content.extend_from_slice(&self.unsynced);
        write_atomically(self.fs, &self.path, &content)?;
        self.file = self.fs.append(&self.path).context(|| format!("opening {}", self.path.display()))?;
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::read_capped;
    use crate::storage::testing::{FailingFileSystem, Failure, ForgetfulFileSystem};

    const PATH: &str = "/log";

    fn content(fs: &dyn FileSystem) -> String {
        String::from_utf8(read_capped(fs, Path::new(PATH), 1 << 20).unwrap()).unwrap()
    }

    /// Appends ten lines with a sync after every third, while the `n`-th call fails as `failure`; then heals, appends, syncs.
    fn ten_lines(n: u64, failure: Failure) -> String {
        let fs = FailingFileSystem::new(ForgetfulFileSystem::new());
        let mut file = AppendFile::open(&fs, Path::new(PATH)).unwrap();
        fs.fail_after(n, failure);
        for number in 0..10 {
            let _ = file.append(format!("line {number}\n").as_bytes());
            if number % 3 == 2 {
                let _ = file.sync();
            }
        }
        fs.heal();
        let _ = file.append(b"line 10\n");
        file.sync().unwrap();
        fs.inner().power_cut(n);
        content(fs.inner())
    }

    #[test]
    fn whichever_call_fails_every_line_is_there_once_and_in_order() {
        let expected: String = (0..=10).map(|number| format!("line {number}\n")).collect();
        let failures = [Failure::DiskFull, Failure::DiskFullHalfWay, Failure::DiskStaysFull, Failure::InputOutput, Failure::DiskIsGone];
        for failure in failures {
            for n in 0..15 {
                assert_eq!(ten_lines(n, failure), expected, "call {n} failing as {failure:?}");
            }
        }
    }

    #[test]
    fn what_was_in_the_file_before_stays_when_a_write_fails() {
        let fs = FailingFileSystem::new(ForgetfulFileSystem::new());
        write_atomically(&fs, Path::new(PATH), b"before\n").unwrap();
        let mut file = AppendFile::open(&fs, Path::new(PATH)).unwrap();
        fs.fail_after(0, Failure::DiskFullHalfWay);
        assert!(file.append(b"torn\n").is_err());
        assert!(file.append(b"kept\n").is_err());
        file.sync().unwrap();
        assert_eq!(content(&fs), "before\ntorn\nkept\n");
        file.append(b"after\n").unwrap();
        assert_eq!(content(&fs), "before\ntorn\nkept\nafter\n");
    }
}
