//! A file as memory, read-only: weights are read where they lie, without a copy of the file beside them. Owns what happens when another
//! program cuts such a file short; what the bytes mean is the reader's business.

use super::real::NO_FILE;
use crate::{Context, Error, Result};
use memmap2::Mmap;
use std::fs::File;
use std::ops::Deref;
use std::path::Path;

/// The bytes of a file. Where another program cuts it short meanwhile, this one ends with an error that names the file once a byte that is
/// gone is read: files in use are to be replaced by renaming.
#[derive(Debug)]
pub struct MappedFile {
    map: Mmap,
    #[cfg(unix)]
    _watched: watch::Watched,
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// The user's: there is no such file, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        Self::map(path).context(|| format!("reading {}", path.display())).map_err(Error::blame_input)
    }

    fn map(path: &Path) -> Result<Self> {
        // Before it is opened: a pipe would wait for whoever writes to it.
        match std::fs::metadata(path)?.file_type() {
            kind if kind.is_dir() => return Err(Error::input("this is a directory, not a file")),
            kind if !kind.is_file() => return Err(Error::input(NO_FILE)),
            _ => {}
        }
        let file = File::open(path)?;
        // SAFETY: the map is read-only and private to this value, and bytes have no invalid values. Another program that writes to the
        // file changes numbers, not soundness; checkpoints and caches are replaced by renaming, which leaves the mapped file as it is.
        let map = unsafe { Mmap::map(&file) }?;
        prefer_large_pages(&map);
        Ok(Self {
            #[cfg(unix)]
            _watched: watch::Watched::new(file, map.len() as u64, path)?,
            map,
        })
    }
}

/// Asks that what is not in memory yet be read 2 MiB at a time and kept on pages of that size. A wish: a system that has none refuses.
#[cfg(target_os = "linux")]
fn prefer_large_pages(map: &Mmap) {
    let _ = map.advise(memmap2::Advice::HugePage);
}

#[cfg(not(target_os = "linux"))]
fn prefer_large_pages(_map: &Mmap) {}

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

/// Reading a byte that is gone raises SIGBUS, wherever the program is. There is no way back from there, but for an end that says why: the
/// handler looks which of the mapped files is shorter than it was. It may use nothing but what is safe in a signal's handler.
#[cfg(unix)]
mod watch {
    use crate::Result;
    use rustix::fs::fstat;
    use signal_hook::consts::SIGBUS;
    use signal_hook::low_level::{emulate_default_handler, exit, register};
    use std::fs::File;
    use std::os::fd::{AsRawFd, BorrowedFd};
    use std::path::Path;
    use std::ptr::null_mut;
    use std::sync::Once;
    use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};

    /// Files that are watched at once; the end by any others says nothing.
    const MOST: usize = 256;
    const FREE: i32 = -1;
    const TAKEN: i32 = -2;
    const STDERR: i32 = 2;

    /// A mapped file as the handler sees it.
    struct Slot {
        descriptor: AtomicI32,
        length: AtomicU64,
        /// What is said; never freed, since the handler may be reading it.
        message: AtomicPtr<String>,
    }

    static SLOTS: [Slot; MOST] =
        [const { Slot { descriptor: AtomicI32::new(FREE), length: AtomicU64::new(0), message: AtomicPtr::new(null_mut()) } }; MOST];

    /// Keeps a file open and in a slot.
    #[derive(Debug)]
    pub struct Watched {
        _file: File,
        slot: Option<usize>,
    }

    impl Watched {
        pub fn new(file: File, length: u64, path: &Path) -> Result<Self> {
            listen()?;
            let is_taken = |slot: &Slot| slot.descriptor.compare_exchange(FREE, TAKEN, Ordering::SeqCst, Ordering::SeqCst).is_ok();
            let slot = SLOTS.iter().position(is_taken);
            if let Some(slot) = slot.map(|slot| &SLOTS[slot]) {
                slot.length.store(length, Ordering::SeqCst);
                slot.message.store(Box::leak(Box::new(message(path))), Ordering::SeqCst);
                slot.descriptor.store(file.as_raw_fd(), Ordering::SeqCst);
            }
            Ok(Self { _file: file, slot })
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            if let Some(slot) = self.slot {
                SLOTS[slot].descriptor.store(FREE, Ordering::SeqCst);
            }
        }
    }

    fn message(path: &Path) -> String {
        let path: String = path.display().to_string().chars().map(|one| if one.is_control() { '\u{fffd}' } else { one }).collect();
        format!("error: {path} was cut short while it was in use\nhint: replace files in use by renaming; start this program again\n")
    }

    fn listen() -> Result<()> {
        static ONCE: Once = Once::new();
        let mut listening = Ok(());
        ONCE.call_once(|| {
            // SAFETY: what is called allocates nothing and takes no locks.
            listening = unsafe { register(SIGBUS, end) }.map(drop);
        });
        Ok(listening?)
    }

    fn end() {
        for slot in &SLOTS {
            let descriptor = slot.descriptor.load(Ordering::SeqCst);
            if descriptor < 0 {
                continue;
            }
            // SAFETY: a slot with a descriptor belongs to a file that is open; one that is closed in this moment is only not found.
            let file = unsafe { BorrowedFd::borrow_raw(descriptor) };
            let is_shorter = |length: i64| (length.max(0) as u64) < slot.length.load(Ordering::SeqCst);
            if fstat(file).is_ok_and(|found| is_shorter(found.st_size)) {
                // SAFETY: messages are there before descriptors and are never freed; standard error is open, or else nothing is written.
                let (message, stderr) = unsafe { (&*slot.message.load(Ordering::SeqCst), BorrowedFd::borrow_raw(STDERR)) };
                let _ = rustix::io::write(stderr, message.as_bytes());
                exit(1);
            }
        }
        let _ = emulate_default_handler(SIGBUS);
    }
}
