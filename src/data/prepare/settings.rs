//! Everything that decides what the shards of a corpus hold, and the hash of it.

use crate::config::HeldOut;
use crate::data::documents::DocumentSettings;
use crate::data::shards::TokenWidth;
use crate::storage::content_hash;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The usual size of a unit: 10 GB of text make 40 shards, and a preparation that is killed loses a minute.
pub const UNIT_BYTES: u64 = 256 << 20;

/// What is done to documents on their way to tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareSettings {
    /// How files are read.
    pub documents: DocumentSettings,
    /// What is kept for measuring.
    pub held_out: HeldOut,
    /// The id before every document.
    pub begin_with: Option<u32>,
    /// The id behind every document.
    pub end_with: Option<u32>,
    /// Bytes of text from which on a unit is full; [`UNIT_BYTES`] but in tests.
    pub unit_bytes: u64,
}

impl PrepareSettings {
    /// What cannot be meant.
    pub(super) fn check(&self, vocab_size: usize) -> Result<()> {
        let percent = self.held_out.percent();
        if !(0.0..100.0).contains(&percent) {
            return Err(Error::input(format!("held_out is {percent} percent")).hint("it is at least 0 and less than 100"));
        }
        for special in [self.begin_with, self.end_with].into_iter().flatten() {
            if special as usize >= vocab_size {
                return Err(Error::ours(format!("the special token {special} is outside the vocabulary of {vocab_size}")));
            }
        }
        if self.unit_bytes == 0 {
            return Err(Error::ours("units of no bytes"));
        }
        Ok(())
    }

    /// A hash of all that decides what the shards hold, but for the corpus itself.
    pub(super) fn hash(&self, vocab_size: usize, tokenizer_json: &str) -> Result<String> {
        #[derive(Serialize)]
        struct Decisive<'a> {
            settings: &'a PrepareSettings,
            tokenizer: String,
            vocab_size: usize,
            token_bytes: usize,
        }
        let token_bytes = TokenWidth::of_vocabulary(vocab_size).bytes();
        let decisive = Decisive { settings: self, tokenizer: content_hash(tokenizer_json.as_bytes()), vocab_size, token_bytes };
        Ok(content_hash(&serde_json::to_vec(&decisive)?))
    }
}
