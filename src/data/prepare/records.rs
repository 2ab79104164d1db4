//! What the parts of a preparation hand to each other: documents of a round, their tokens, and the record of a unit that is done.

use crate::data::Split;
use crate::data::documents::Document;
use crate::data::shards::{PackedDocuments, ShardRecord};
use serde::{Deserialize, Serialize};

/// A document and the hash of its text.
#[derive(Debug)]
pub(super) struct HashedDocument {
    pub document: Document,
    pub hash: blake3::Hash,
}

/// Documents that are in memory together, all of one unit.
#[derive(Debug)]
pub(super) struct Round {
    pub unit: u64,
    pub documents: Vec<HashedDocument>,
    /// Whether, and how, the unit ends with them.
    pub end: Option<UnitEnd>,
}

/// Consecutive documents, encoded.
#[derive(Debug)]
pub(super) struct Encoded {
    pub train: EncodedSplit,
    pub validation: EncodedSplit,
}

/// The part of them that goes to a split.
#[derive(Debug)]
pub(super) struct EncodedSplit {
    pub documents: PackedDocuments,
    pub text_bytes: u64,
}

impl Encoded {
    /// What goes to `split`.
    pub fn split(&self, split: Split) -> &EncodedSplit {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
        }
    }
}

/// A unit that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnitRecord {
    pub end: UnitEnd,
    /// None where the split got nothing.
    pub train: Option<UnitSplit>,
    pub validation: Option<UnitSplit>,
}

/// The documents of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnitEnd {
    pub documents: u64,
    /// Hash of the hashes of their texts.
    pub documents_blake3: String,
}

/// A shard of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnitSplit {
    pub shard: ShardRecord,
    pub text_bytes: u64,
}
