//! A file as memory, read-only: weights are read where they lie, without a copy of the file beside them. What the bytes mean is the
//! reader's business.

use crate::{Context, Error, Result};
use memmap2::Mmap;
use std::fs::File;
use std::ops::Deref;
use std::path::Path;

/// The bytes of a file. A file that another program cuts short meanwhile ends this one when a byte that is gone is read: files in use are
/// to be replaced by renaming.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// The user's: there is no such file, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let mapped = || -> Result<Mmap> {
            let file = File::open(path)?;
            if !file.metadata()?.is_file() {
                return Err(Error::input("this is not a file"));
            }
            // SAFETY: the map is read-only and private to this value, and bytes have no invalid values. Another program that writes to the
            // file changes numbers, not soundness; checkpoints and caches are replaced by renaming, which leaves the mapped file as it is.
            Ok(unsafe { Mmap::map(&file) }?)
        };
        let file = Self { map: mapped().context(|| format!("reading {}", path.display())).map_err(Error::blame_input)? };
        file.prefer_large_pages();
        Ok(file)
    }

    /// Asks that what is not in memory yet be read 2 MiB at a time and kept on pages of that size. A wish: a system that has none refuses.
    #[cfg(target_os = "linux")]
    fn prefer_large_pages(&self) {
        let _ = self.map.advise(memmap2::Advice::HugePage);
    }

    #[cfg(not(target_os = "linux"))]
    fn prefer_large_pages(&self) {}
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
