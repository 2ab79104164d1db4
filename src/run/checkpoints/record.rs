//! `COMPLETE`: what a checkpoint must hold, sealed by a hash of its own so that no flipped byte of it goes unnoticed.

use super::name;
use crate::storage::content_hash;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The version that this program writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;
/// A longer `COMPLETE` is refused before it is read: 64 MiB hold hundreds of thousands of names.
pub(super) const MAX_BYTES: u64 = 1 << 26;
const MAX_FILES: usize = 100_000;

/// The content of `COMPLETE`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompleteRecord {
    /// Version of the layout.
    pub format: u32,
    /// Optimizer steps taken.
    pub step: u64,
    /// What the state depends on.
    pub fingerprints: Fingerprints,
    /// Loss on held-out data at this step, lower is better; none where it was not measured or is not finite.
    pub held_out_loss: Option<f64>,
    /// Every other file of the checkpoint.
    pub files: Vec<FileRecord>,
}

/// A file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its name in the directory.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its hash, 64 hexadecimal digits.
    pub blake3: String,
}

/// Hashes of what a checkpoint's state depends on, so that a resumed run can tell that something changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprints {
    /// Of the resolved experiment.
    pub config: String,
    /// Of the tokenizer's file.
    pub tokenizer: String,
    /// Of the data, or of what it is generated from.
    pub data: String,
}

impl Fingerprints {
    /// Which of `config`, `tokenizer`, `data` differ.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let pairs =
            [("config", &self.config, &other.config), ("tokenizer", &self.tokenizer, &other.tokenizer), ("data", &self.data, &other.data)];
        pairs.into_iter().filter(|(_, mine, theirs)| mine != theirs).map(|(what, ..)| what).collect()
    }
}

/// Why a `COMPLETE` cannot be used.
#[derive(Debug, PartialEq)]
pub(super) enum Unreadable {
    /// Whole, but of a later version of the program.
    Newer(u32),
    /// Torn, changed, or never one of ours.
    Damaged(String),
}

/// The length of `,"blake3":"<64 digits>"}` and a newline.
const SEAL_LENGTH: usize = SEAL_OPENING.len() + 64 + SEAL_CLOSING.len();
const SEAL_OPENING: &str = r#","blake3":""#;
const SEAL_CLOSING: &str = "\"}\n";

/// The record as one line of JSON whose last field is the hash of all that stands before it.
pub(super) fn seal(record: &CompleteRecord) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_string(record)?;
    text.pop(); // The closing brace: the seal brings its own.
    let hash = content_hash(text.as_bytes());
    Ok([&text, SEAL_OPENING, &hash, SEAL_CLOSING].concat().into_bytes())
}

/// The record in `content`, if every byte is as it was sealed and it is one that this program may follow.
pub(super) fn unseal(content: &[u8]) -> Result<CompleteRecord, Unreadable> {
    let damaged = |reason: &str| Unreadable::Damaged(format!("COMPLETE {reason}"));
    let text = std::str::from_utf8(content).map_err(|_| damaged("is not text"))?;
    let split = text.len().checked_sub(SEAL_LENGTH).filter(|at| text.is_char_boundary(*at)).ok_or_else(|| damaged("is torn"))?;
    let (body, found) = text.split_at(split);
    if found != [SEAL_OPENING, &content_hash(body.as_bytes()), SEAL_CLOSING].concat() {
        return Err(damaged("is not what was written"));
    }
    check_format(text)?;
    let record: CompleteRecord = serde_json::from_str(text).map_err(|error| damaged(&format!("does not parse: {error}")))?;
    check_names(&record).map_err(Unreadable::Damaged)?;
    Ok(record)
}

fn check_format(text: &str) -> Result<(), Unreadable> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    match serde_json::from_str::<Version>(text) {
        Ok(Version { format: FORMAT }) => Ok(()),
        Ok(Version { format }) if format > FORMAT => Err(Unreadable::Newer(format)),
        Ok(Version { format }) => Err(Unreadable::Damaged(format!("COMPLETE names format {format}, which never was"))),
        Err(error) => Err(Unreadable::Damaged(format!("COMPLETE does not parse: {error}"))),
    }
}

/// Names that stay inside the directory, each once.
pub(super) fn check_names(record: &CompleteRecord) -> Result<(), String> {
    if record.files.len() > MAX_FILES {
        return Err(format!("COMPLETE lists {} files", record.files.len()));
    }
    let mut seen = BTreeSet::new();
    for file in &record.files {
        if !name::is_file_name(&file.name) {
            return Err(format!("COMPLETE lists the file name {:?}", file.name));
        }
        if !seen.insert(&file.name) {
            return Err(format!("COMPLETE lists {} twice", file.name));
        }
    }
    Ok(())
}
