//! Whether the shards of a prepared directory are to the byte what was written: their hashes against those of the manifest, at once or by
//! a thread beside the training. Owns the reading for that; the manifest says where the files are, and what they should be.

use super::Prepared;
use super::shards::{ShardRecord, damaged};
use crate::storage::{DISK, FileSystem};
use crate::{Context, Error, Result};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// So much of a file is in memory; `stop` is asked between two such pieces.
const PIECE_BYTES: usize = 1 << 20;

/// Reads the shards of `records`, which lie in `dir`, one after another. False when `stop` says so before the end.
///
/// # Errors
/// The user's: the first file that is not what was written. Ours: a disk that fails.
fn verify<'a>(fs: &dyn FileSystem, dir: &Path, records: impl Iterator<Item = &'a ShardRecord>, stop: &dyn Fn() -> bool) -> Result<bool> {
    let mut piece = vec![0; PIECE_BYTES];
    for record in records {
        let path = dir.join(&record.file);
        let reading = || format!("reading {}", path.display());
        let mut file = fs.open(&path).context(reading)?.take(record.bytes.saturating_add(1));
        let mut hasher = blake3::Hasher::new();
        loop {
            if stop() {
                return Ok(false);
            }
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => hasher.update(&piece[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Error::from(error).context(reading())),
            };
        }
        if hasher.finalize().to_hex().as_str() != record.blake3 {
            return Err(damaged(&path, "its hash is not the recorded one"));
        }
    }
    Ok(true)
}

impl Prepared {
    /// Reads every shard and compares its hash with the recorded one. False when `stop` says so before the end.
    ///
    /// # Errors
    /// The user's: the first shard that is not what was written, by name.
    pub fn verify(&self, stop: &dyn Fn() -> bool) -> Result<bool> {
        self.verify_on(&DISK, stop)
    }

    pub(super) fn verify_on(&self, fs: &dyn FileSystem, stop: &dyn Fn() -> bool) -> Result<bool> {
        verify(fs, self.dir(), self.all_shards(), stop)
    }
}

/// A look at every byte of a prepared directory, by a thread that is started with the first question and ends with this value.
pub struct IntegrityCheck {
    prepared: Arc<Prepared>,
    is_over: Arc<AtomicBool>,
    state: State,
}

enum State {
    /// Not begun, or ended with an error, so that it would be found again.
    Due,
    Underway(JoinHandle<Result<bool>>),
    Done,
}

impl IntegrityCheck {
    /// Nothing is read yet.
    pub fn new(prepared: &Prepared) -> Self {
        Self { prepared: Arc::new(prepared.clone()), is_over: Arc::default(), state: State::Due }
    }

    /// Begins, if that is due, and says what was found, without waiting.
    ///
    /// # Errors
    /// The user's: the first shard that is not what was written. Ours: a disk that fails, a thread that cannot be started.
    pub fn look(&mut self) -> Result<()> {
        self.begin()?;
        match &self.state {
            State::Underway(thread) if thread.is_finished() => self.wait(),
            _ => Ok(()),
        }
    }

    /// The same, when every byte has been looked at.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub fn wait(&mut self) -> Result<()> {
        self.begin()?;
        if let State::Underway(thread) = std::mem::replace(&mut self.state, State::Due) {
            thread.join().map_err(|_| Error::ours("the thread that checks the token shards panicked"))??;
        }
        self.state = State::Done;
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        if matches!(self.state, State::Due) {
            let (prepared, is_over) = (Arc::clone(&self.prepared), Arc::clone(&self.is_over));
            let work = move || verify(&DISK, prepared.dir(), prepared.all_shards(), &|| is_over.load(Ordering::Relaxed));
            self.state = State::Underway(std::thread::Builder::new().name("integrity".into()).spawn(work)?);
        }
        Ok(())
    }
}

/// The thread ends behind the piece that it reads.
impl Drop for IntegrityCheck {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let State::Underway(thread) = std::mem::replace(&mut self.state, State::Done) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[path = "integrity_tests.rs"]
mod tests;
