//! The operating system's file system.

use super::{Entry, EntryKind, FileSystem, Metadata, StoredFile};
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Why a pipe, a socket or a device is not opened.
pub(super) const NO_FILE: &str = "this is a pipe, a socket or a device, not a file";

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFileSystem;

/// The one that everything but tests uses, to be passed as `&DISK`.
pub static DISK: RealFileSystem = RealFileSystem;

impl StoredFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl FileSystem for RealFileSystem {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(File::create(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(OpenOptions::new().append(true).create(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        let kind = kind_of(fs::metadata(path)?.file_type());
        if kind == EntryKind::Other {
            return Err(io::Error::new(ErrorKind::InvalidInput, NO_FILE)); // reading a pipe could wait for ever
        }
        Ok(Box::new(File::open(path)?))
    }

    /// Does nothing where a directory cannot be opened, as on Windows, or where the file system knows no such sync, as over some networks.
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if !cfg!(unix) {
            return Ok(());
        }
        match File::open(path)?.sync_all() {
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
            synced => synced,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                Ok(Entry { name: entry.file_name().to_string_lossy().into_owned(), kind: kind_of(entry.file_type()?) })
            })
            .collect()
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let metadata = fs::symlink_metadata(path)?;
        let kind = kind_of(metadata.file_type());
        Ok(Metadata { kind, len: if kind == EntryKind::File { metadata.len() } else { 0 } })
    }

    #[cfg(unix)]
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let space = rustix::fs::statvfs(path)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    #[cfg(not(unix))]
    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

fn kind_of(file_type: FileType) -> EntryKind {
    if file_type.is_file() {
        EntryKind::File
    } else if file_type.is_dir() {
        EntryKind::Directory
    } else {
        EntryKind::Other
    }
}
