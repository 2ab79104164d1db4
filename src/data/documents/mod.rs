//! The documents of local files, one after another, in bounded memory. Owns the formats (`.txt .json .jsonl .parquet`, the first three
//! also as `.gz` and `.zst`), where a document begins and ends, and what is said about one that is not as it should be; `prepare` owns what
//! becomes of a document.
//!
//! A document, and the record that holds it, may have [`MAX_DOCUMENT_BYTES`]; files may have any size but for a `.json`,
//! which is read as a whole.

mod document;
mod iterate;
mod json;
mod opened;
mod parquet;
#[cfg(test)]
mod parquet_tests;
mod pieces;
mod sources;
#[cfg(test)]
mod tests;
mod text;

pub use crate::config::BadRecords;
pub use document::{Document, DocumentSettings, MAX_DOCUMENT_BYTES, Place, Skipped, Within};
pub use iterate::Documents;
pub use sources::{SourceFile, Sources};
