//! What a preparation tells while it runs, and how it ended.

use crate::data::Prepared;

/// How a preparation ended.
#[derive(Debug)]
pub enum Outcome {
    /// The directory is prepared.
    Finished(Box<Prepared>),
    /// It was asked to stop; the units that are done are kept.
    Stopped,
}

/// What a preparation tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What was there is of no use, and was removed.
    StartedOver {
        /// Why.
        reason: String,
    },
    /// Some documents more are done.
    Advanced(Progress),
}

/// How far a preparation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read of the files of the corpus, as they lie on the disk.
    pub bytes_read: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Documents that are done, those of kept units included.
    pub documents: u64,
    /// Tokens of both splits.
    pub tokens: u64,
    /// Units that are done.
    pub units: u64,
    /// Of these, units that were there already.
    pub kept_units: u64,
}
