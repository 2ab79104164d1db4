//! One writer at a time: a lock that the operating system holds for a process and drops when it dies, however it dies.

use super::atomic::parent_of;
use crate::{Context, Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

/// A status view may look at the lock for a moment, which must not turn a trainer away: so often it tries again, after this pause.
const NUM_ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Held while it lives. The file stays where it is: deleting it would let two processes lock two files of one name.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the file at `path`, made when absent, and writes this process's id into it. An error that names the holder
    /// when another process, or this one, has it.
    pub fn acquire(path: &Path) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .context(|| format!("opening {}", path.display()))?;
        if !try_patiently(&file, path)? {
            return Err(held_by_another(&mut file, path));
        }
        write_holder(&mut file).context(|| format!("writing {}", path.display()))?;
        Ok(Self { _file: file })
    }

    /// Whether a living process holds the lock of the file at `path`. No file: no.
    pub fn is_held(path: &Path) -> Result<bool> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::from(error).context(format!("opening {}", path.display()))),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false), // Dropped with the file, at once.
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(Error::from(error).context(format!("looking at the lock {}", path.display()))),
        }
    }
}

fn try_patiently(file: &File, path: &Path) -> Result<bool> {
    for attempt in 0..NUM_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if attempt + 1 < NUM_ATTEMPTS => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                let doing = format!("locking {}", path.display());
                return Err(Error::from(error).context(doing).hint("put the runs on a file system that has locks"));
            }
        }
    }
    Ok(false)
}

fn held_by_another(file: &mut File, path: &Path) -> Error {
    let mut holder = String::new();
    let _ = file.take(32).read_to_string(&mut holder); // Only for the message.
    let holder = match holder.trim().parse::<u32>() {
        Ok(id) => format!("process {id}"),
        Err(_) => "another process".to_owned(),
    };
    let run = parent_of(path).display();
    Error::input(format!("{run} is being written by {holder}")).hint("wait until it ends, stop it, or choose another --run-id")
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
