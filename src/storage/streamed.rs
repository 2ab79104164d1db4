//! A large file, whole or absent: written piece by piece beside its place, hashed on the way, synced, and renamed at the end.

use super::atomic::{parent_of, temporary_beside};
use super::{FileSystem, HashingWriter, StoredFile};
use crate::{Context, Error, Result};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Bytes gathered before a write call.
const BUFFER_BYTES: usize = 1 << 17;

type Writer = BufWriter<HashingWriter<Box<dyn StoredFile>>>;

/// A file that is being written beside its place. Nothing of it is left unless it is [committed](Self::commit).
pub struct StreamedFile<'fs> {
    fs: &'fs dyn FileSystem,
    path: PathBuf,
    temporary: PathBuf,
    /// None once it is committed.
    writer: Option<Writer>,
}

/// What a committed file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamedContent {
    /// Its length.
    pub bytes: u64,
    /// Its hash, 64 hexadecimal digits.
    pub blake3: String,
}

impl<'fs> StreamedFile<'fs> {
    /// Begins the file that will be at `path`; until it is committed, what is there stays.
    pub fn create(fs: &'fs dyn FileSystem, path: &Path) -> Result<Self> {
        let temporary = temporary_beside(path)?;
        let file = fs.create(&temporary).context(|| format!("creating {}", temporary.display()))?;
        let writer = BufWriter::with_capacity(BUFFER_BYTES, HashingWriter::new(file));
        Ok(Self { fs, path: path.to_owned(), temporary, writer: Some(writer) })
    }

    /// Puts all that was written on the medium and gives the file its name. After `Ok` no power cut loses it.
    pub fn commit(mut self) -> Result<StreamedContent> {
        let committed = self.put_in_place();
        committed.context(|| format!("writing {}", self.path.display()))
    }

    fn put_in_place(&mut self) -> Result<StreamedContent> {
        let writer = self.writer.as_mut().ok_or_else(|| Error::ours("a file is committed twice"))?;
        writer.flush()?;
        let Some(writer) = self.writer.take() else { return Err(Error::ours("a file is committed twice")) };
        let (mut file, blake3, bytes) = writer.into_parts().0.finish();
        let renamed = file.sync().and_then(|()| self.fs.rename(&self.temporary, &self.path));
        if renamed.is_err() {
            let _ = self.fs.remove_file(&self.temporary); // What matters is the first error.
        }
        renamed?;
        self.fs.sync_dir(parent_of(&self.path))?;
        Ok(StreamedContent { bytes, blake3 })
    }

    /// Where it will be.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Write for StreamedFile<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.writer.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.flush()
    }
}

impl Drop for StreamedFile<'_> {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            drop(writer.into_parts()); // Without writing what is still gathered.
            let _ = self.fs.remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::{FailingFileSystem, Failure, ForgetfulFileSystem};
    use crate::storage::{content_hash, read_capped, write_atomically};

    const PATH: &str = "/shard";

    fn content() -> Vec<u8> {
        (0..300_000u32).flat_map(u32::to_le_bytes).collect()
    }

    fn write(fs: &dyn FileSystem) -> Result<StreamedContent> {
        let mut file = StreamedFile::create(fs, Path::new(PATH))?;
        content().chunks(1000).try_for_each(|chunk| file.write_all(chunk))?;
        file.commit()
    }

    #[test]
    fn what_is_committed_survives_a_power_cut_and_is_described_truly() {
        let fs = ForgetfulFileSystem::new();
        let written = write(&fs).unwrap();
        fs.power_cut(3);
        assert_eq!(read_capped(&fs, Path::new(PATH), 1 << 21).unwrap(), content());
        assert_eq!((written.bytes, written.blake3), (1_200_000, content_hash(&content())));
    }

    #[test]
    fn whichever_call_fails_the_file_is_the_old_one_or_the_new_and_nothing_lies_beside_it() {
        for failure in [Failure::DiskFull, Failure::DiskFullHalfWay, Failure::InputOutput] {
            for n in 0..14 {
                let fs = FailingFileSystem::new(ForgetfulFileSystem::new());
                write_atomically(&fs, Path::new(PATH), b"old").unwrap();
                fs.fail_after(n, failure);
                let outcome = write(&fs);
                fs.heal();
                let found = read_capped(&fs, Path::new(PATH), 1 << 21).unwrap();
                assert!(found == content() || outcome.is_err() && found == b"old", "call {n} failing as {failure:?}");
                assert_eq!(fs.list(Path::new("/")).unwrap().len(), 1, "call {n} failing as {failure:?}");
            }
        }
    }

    #[test]
    fn a_file_that_is_not_committed_leaves_nothing() {
        let fs = ForgetfulFileSystem::new();
        let mut file = StreamedFile::create(&fs, Path::new(PATH)).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert!(fs.list(Path::new("/")).unwrap().is_empty());
    }
}
