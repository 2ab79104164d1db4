//! A run as the trainer holds it: locked, with its logs and checkpoints open for writing.

use super::{CheckpointStore, Event, EventRow, RunDirectory, RunLogs, unix_time};
use crate::Result;
use crate::storage::{AppendFile, FileSystem, Lock};

/// The only writer of a run.
pub struct ActiveRun<'fs> {
    /// Where everything lies.
    pub directory: RunDirectory,
    /// Rows of every kind.
    pub logs: RunLogs<'fs>,
    /// Saving and finding states.
    pub checkpoints: CheckpointStore<'fs>,
    messages: AppendFile<'fs>,
    _lock: Lock,
}

impl<'fs> ActiveRun<'fs> {
    /// Opens the logs of a run after `step`; rows beyond it are cut. `lock` and `checkpoints` are the run's.
    pub fn open(
        fs: &'fs dyn FileSystem,
        directory: RunDirectory,
        lock: Lock,
        checkpoints: CheckpointStore<'fs>,
        step: u64,
    ) -> Result<Self> {
        let logs = RunLogs::open(fs, &directory, step)?;
        let messages = AppendFile::open(fs, &directory.train_log_path())?;
        Ok(Self { directory, logs, checkpoints, messages, _lock: lock })
    }

    /// Records that something happened to the run as a whole. What cannot be written now is written by [`Self::sync`]: the event is for
    /// watchers, nothing depends on it.
    pub fn event(&mut self, step: u64, event: Event) {
        let _ = self.logs.events.append(&EventRow { unix_time: unix_time(), step, event });
    }

    /// Adds a line to `train.log`. What cannot be written now is written by [`Self::sync`]: the message is for people, who get it on the
    /// terminal too.
    pub fn note(&mut self, step: u64, message: &str) {
        let line = format!("{:.0} step {step}: {}\n", unix_time(), message.replace('\n', " | "));
        let _ = self.messages.append(line.as_bytes());
    }

    /// Makes all rows so far durable, those that the disk refused before included. Called before a checkpoint is saved, so that no
    /// acknowledged checkpoint lacks a row.
    pub fn sync(&mut self) -> Result<()> {
        let _ = self.messages.sync(); // For people only: no checkpoint waits for it.
        self.logs.sync()
    }
}
