//! A corpus of text: where it comes from, what is a document, what is held out, and which tokenizer reads it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How text becomes token ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenizerConfig {
    /// One token for each character of the data's alphabet.
    Characters,
    /// Byte pairs, learned from the corpus when it is prepared.
    BytePair(BytePairConfig),
    /// A `tokenizer.json` of this path.
    File(String),
    /// The `tokenizer.json` of a model of this name on the Hugging Face hub.
    Hub(String),
}

/// What byte pairs are learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BytePairConfig {
    /// Tokens in the end, special ones and the 256 bytes included.
    pub vocab_size: usize,
    /// Megabytes at the beginning of the corpus that pairs are learned from.
    pub sample_megabytes: u64,
}

/// Documents of text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// Directory below which corpora are prepared, each in one of its own.
    pub prepared_in: String,
    /// Where the documents are.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub source: TextSource,
    /// Key of the text in a record of .json, .jsonl and .parquet; dots reach into sections.
    pub text_field: String,
    /// What stands between the documents of a .txt; null where a file is one document.
    pub document_separator: Option<String>,
    /// What training never sees.
    #[serde(with = "serde_yaml::with::singleton_map")]
    pub held_out: HeldOut,
    /// Whether each document opens with the tokenizer's token for that.
    pub begin_with_bos: bool,
    /// Whether each document ends with the tokenizer's token for that.
    pub end_with_eos: bool,
    /// What is done about a record that holds no text.
    pub bad_records: BadRecords,
}

/// Where documents are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TextSource {
    /// Files and directories of .txt, .json, .jsonl and .parquet, each also as .gz or .zst.
    Files(Vec<String>),
    /// A data set on the Hugging Face hub.
    Hub(HubSource),
}

/// Files of a data set on the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubSource {
    /// `owner/name`.
    pub repository: String,
    /// A branch, tag or commit.
    pub revision: String,
    /// Patterns of the files that are taken, in name order: `*` within a name, `**` across directories.
    pub files: Vec<String>,
}

/// What is kept for measuring.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HeldOut {
    /// So many percent of the documents, chosen by a hash of the text: a document that is there twice is on one side. Where this leaves
    /// a side fewer than four documents, a preparation takes the end of each in its place, and says so.
    DocumentsPercent(f64),
    /// The last so many percent of each document's characters, for a corpus of few documents. Either part is a document of its split,
    /// with what begins and ends one.
    EndOfEachDocumentPercent(f64),
}

impl HeldOut {
    /// Percent of the documents or of each.
    pub fn percent(self) -> f64 {
        match self {
            Self::DocumentsPercent(percent) | Self::EndOfEachDocumentPercent(percent) => percent,
        }
    }
}

/// As it reads after "held out: ".
impl fmt::Display for HeldOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DocumentsPercent(percent) => write!(formatter, "{percent} percent of the documents"),
            Self::EndOfEachDocumentPercent(percent) => write!(formatter, "the last {percent} percent of each document"),
        }
    }
}

/// What is done about a record that holds no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadRecords {
    /// It is an error.
    Stop,
    /// It is passed over, and counted. A file that is broken is an error all the same.
    Skip,
}
