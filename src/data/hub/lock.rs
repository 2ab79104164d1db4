//! One fetch at a time of one content, in this process and in others, huggingface_hub included: the others wait, then find it there.

use super::{Patience, cache::Cache};
use crate::storage::create_dir_durably;
use crate::{Context, Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::time::Duration;

/// Between two looks at a lock that somebody else has.
const PAUSE: Duration = Duration::from_millis(100);

/// Held while it lives, and by no process that is dead. The file stays: deleting it would let two hold two files of one name.
pub(super) struct Held {
    _file: File,
}

/// Waits for the lock `name` of a repository, as long as it takes or until asked to stop.
pub(super) fn hold(cache: &Cache<'_>, name: &str, patience: &Patience, stop: &dyn Fn() -> bool) -> Result<Held> {
    let path = cache.lock(name);
    create_dir_durably(cache.fs, path.parent().unwrap_or(&path))?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.context(|| format!("opening {}", path.display()))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Held { _file: file }),
            Err(TryLockError::WouldBlock) => patience.pass(PAUSE, stop)?,
            Err(TryLockError::Error(error)) => {
                let doing = format!("locking {}", path.display());
                return Err(Error::from(error).context(doing).hint("set HF_HOME to a directory on a file system that has locks"));
            }
        }
    }
}
