//! A folder, whole or absent: its files are written beside its place and synced, and one rename puts all of them there. What may be
//! replaced, and which files there are, is the business of the callers.

use super::atomic::{parent_of, temporary_beside};
use super::{FileSystem, create_dir_durably, remove_tree};
use crate::{Context, Error, Result};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Bytes of every write call but the last of a file, so that each begins at a multiple of it: then Linux keeps the file on large pages,
/// and where it is mapped, it is read as fast as memory.
const WRITE_BYTES: usize = 2 << 20;
/// Space that must stay free beside what is written.
const SPARE_BYTES: u64 = 64 << 20;

/// A folder that is being written beside its place. Nothing of it is left unless it is [committed](Self::commit).
pub struct NewFolder<'fs> {
    fs: &'fs dyn FileSystem,
    dir: PathBuf,
    temporary: PathBuf,
}

impl<'fs> NewFolder<'fs> {
    /// Begins the folder that will be at `dir`; until it is committed, what is there stays. Directories above it are made.
    ///
    /// # Errors
    /// The user's: `dir` names no folder. Ours: a directory that cannot be made.
    pub fn create(fs: &'fs dyn FileSystem, dir: &Path) -> Result<Self> {
        if dir.file_name().is_none() {
            return Err(Error::input(format!("{} names no folder", dir.display())).hint("such as -o models/mine"));
        }
        let temporary = temporary_beside(dir)?;
        create_dir_durably(fs, parent_of(dir))?;
        fs.create_dir(&temporary).context(|| format!("creating {}", temporary.display()))?;
        Ok(Self { fs, dir: dir.to_owned(), temporary })
    }

    /// Refuses a disk without room for `bytes` more.
    ///
    /// # Errors
    /// The user's.
    pub fn require_space(&self, bytes: u64) -> Result<()> {
        let parent = parent_of(&self.dir);
        let (free, needed) = (self.fs.free_space(parent).unwrap_or(u64::MAX), bytes.saturating_add(SPARE_BYTES));
        if free >= needed {
            return Ok(());
        }
        let message = format!("{} has {free} bytes free, and {needed} are needed", parent.display());
        Err(Error::input(message).hint("take a smaller model, or another disk with -o"))
    }

    /// Adds the file `name`, synced, as `write` writes it.
    ///
    /// # Errors
    /// Those of `write`, and failed writes.
    pub fn write(&self, name: &str, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
        let store = || -> Result<()> {
            let mut writer = EvenWriter(BufWriter::with_capacity(WRITE_BYTES, self.fs.create(&self.temporary.join(name))?));
            write(&mut writer)?;
            let mut file = writer.0.into_inner().map_err(std::io::IntoInnerError::into_error)?;
            Ok(file.sync()?)
        };
        store().context(|| format!("writing {}", self.dir.join(name).display()))
    }

    /// Gives the folder its name; what had it is removed once the new one is there for good. After `Ok` no power cut loses it. A crash
    /// between both leaves the old one beside, under a name that begins with `.replaced-`.
    ///
    /// # Errors
    /// A failed call; the old folder is there then.
    pub fn commit(self) -> Result<()> {
        self.put_in_place().context(|| format!("writing {}", self.dir.display()))
    }

    fn put_in_place(&self) -> Result<()> {
        self.fs.sync_dir(&self.temporary)?;
        let replaced = self.fs.exists(&self.dir)?.then(|| self.replaced());
        if let Some(replaced) = &replaced {
            self.fs.rename(&self.dir, replaced)?;
        }
        if let Err(error) = self.fs.rename(&self.temporary, &self.dir) {
            let _ = replaced.map(|replaced| self.fs.rename(&replaced, &self.dir)); // What matters is the first error.
            return Err(error.into());
        }
        self.fs.sync_dir(parent_of(&self.dir))?;
        replaced.map_or(Ok(()), |replaced| remove_tree(self.fs, &replaced)).context(|| "removing what was there before".to_owned())
    }

    fn replaced(&self) -> PathBuf {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        self.dir.with_file_name(format!(".replaced-{name}-{}", std::process::id()))
    }
}

/// Writes a full buffer at a time, whatever the lengths that it is given.
struct EvenWriter<W: Write>(BufWriter<W>);

impl<W: Write> Write for EvenWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = match self.0.capacity() - self.0.buffer().len() {
            0 => self.0.capacity(),
            room => room,
        };
        self.0.write(&bytes[..bytes.len().min(room)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for NewFolder<'_> {
    fn drop(&mut self) {
        let _ = remove_tree(self.fs, &self.temporary); // It is not there once it is committed.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::{FailingFileSystem, Failure, ForgetfulFileSystem};
    use crate::storage::{read_capped, write_atomically};

    const DIR: &str = "/models/mine";

    fn write(fs: &dyn FileSystem) -> Result<()> {
        let folder = NewFolder::create(fs, Path::new(DIR))?;
        for name in ["config.json", "model.safetensors"] {
            folder.write(name, |writer| Ok(writer.write_all(b"new")?))?;
        }
        folder.commit()
    }

    fn old(fs: &dyn FileSystem) {
        create_dir_durably(fs, Path::new(DIR)).unwrap();
        write_atomically(fs, &Path::new(DIR).join("config.json"), b"old").unwrap();
    }

    fn content(fs: &dyn FileSystem, name: &str) -> Option<Vec<u8>> {
        read_capped(fs, &Path::new(DIR).join(name), 10).ok()
    }

    #[test]
    fn what_is_committed_survives_a_power_cut_and_replaces_what_was_there() {
        for seed in 0..20 {
            let fs = ForgetfulFileSystem::new();
            old(&fs);
            write(&fs).unwrap();
            fs.power_cut(seed);
            assert_eq!(content(&fs, "config.json").as_deref(), Some(&b"new"[..]));
            assert_eq!(content(&fs, "model.safetensors").as_deref(), Some(&b"new"[..]));
        }
    }

    #[test]
    fn whichever_call_fails_the_folder_is_the_old_one_or_the_new() {
        let mut num_failed = 0;
        for n in 0..40 {
            let fs = FailingFileSystem::new(ForgetfulFileSystem::new());
            old(&fs);
            fs.fail_after(n, Failure::InputOutput);
            num_failed += usize::from(write(&fs).is_err());
            fs.heal();
            let (config, model) = (content(&fs, "config.json").unwrap(), content(&fs, "model.safetensors"));
            assert_eq!(config == b"new", model.is_some(), "call {n}");
            assert!(config == b"new" || config == b"old", "call {n}");
        }
        assert!(num_failed > 5, "{num_failed}");
    }

    #[test]
    fn all_writes_but_the_last_are_of_one_length() {
        struct Lengths(Vec<usize>);
        impl Write for Lengths {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.push(bytes.len());
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = EvenWriter(BufWriter::with_capacity(64, Lengths(Vec::new())));
        for length in [3, 64, 61, 1, 200, 0, 63, 9] {
            writer.write_all(&vec![7; length]).unwrap();
        }
        let lengths = writer.0.into_inner().map_err(|_| "not flushed").unwrap().0;
        assert_eq!(lengths, [64, 64, 64, 64, 64, 64, 17]);
    }

    #[test]
    fn a_folder_that_is_not_committed_leaves_nothing() {
        let fs = ForgetfulFileSystem::new();
        let folder = NewFolder::create(&fs, Path::new(DIR)).unwrap();
        folder.write("config.json", |writer| Ok(writer.write_all(b"half")?)).unwrap();
        drop(folder);
        assert!(fs.list(Path::new("/models")).unwrap().is_empty());
    }
}
