//! A document, where it came from, and what is done about a record that holds none.

use crate::config::BadRecords;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// So many bytes may a document have, and so many the record that it is written in: a `.txt` without separator, a line of a `.jsonl`, an
/// element of a `.json`, a row of a `.parquet`. A few of them are in memory at a time.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// How files are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentSettings {
    /// The field of an object, or the column of a table, that is the text; a dot reaches into an object.
    pub text_field: String,
    /// What stands between two documents of a `.txt`, itself no part of either. None: a file is a document.
    pub document_separator: Option<String>,
    /// What becomes of a record that holds no text.
    pub bad_records: BadRecords,
}

/// Text that belongs together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The text; more than white space.
    pub text: String,
    /// Where it was found.
    pub place: Place,
}

/// Where a record stands; it reads as `corpus.jsonl:17`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// Number of the record in it, from 1.
    pub record: u64,
    /// Where in the file it begins.
    pub within: Within,
}

/// Where in a file a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// A record of JSON, at a line from 1.
    Line(u64),
    /// A part of a text, at a byte of the (decompressed) file from 0.
    Byte(u64),
    /// A row of a table: the number says all.
    Table,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, record) = (self.file.display(), self.record);
        match self.within {
            Within::Line(line) if line == record => write!(formatter, "{file}:{line}"),
            Within::Line(line) => write!(formatter, "{file}:{line} (record {record})"),
            Within::Byte(byte) => write!(formatter, "{file}, document {record} (from byte {byte})"),
            Within::Table => write!(formatter, "{file}, row {record}"),
        }
    }
}

/// Records that were passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// How many.
    pub records: u64,
    /// What was wrong with the first few.
    pub reasons: Vec<String>,
}

impl Skipped {
    const MAX_REASONS: usize = 5;

    pub(super) fn add(&mut self, reason: &Error) {
        self.records += 1;
        if self.reasons.len() < Self::MAX_REASONS {
            let message = reason.to_string();
            self.reasons.push(message.split("\nhint: ").next().unwrap_or_default().to_owned());
        }
    }
}

/// Why there is no document where one was looked for.
#[derive(Debug)]
pub(super) enum Flaw {
    /// The record is bad; the next one can be read.
    Record(Error),
    /// The file cannot be read on.
    File(Error),
}

impl From<Error> for Flaw {
    fn from(error: Error) -> Self {
        Self::File(error)
    }
}

/// A file of some format, record by record.
pub(super) trait Records {
    /// The document of the next record; none at the end. After a bad record the one behind it can be asked for.
    fn next_document(&mut self) -> std::result::Result<Option<Document>, Flaw>;
}

/// A record that is bad, with the cure of all of them.
pub(super) fn bad_record(place: &Place, what: impl fmt::Display, cure: &str) -> Flaw {
    let or = if cure.is_empty() { "" } else { ", or " };
    Flaw::Record(Error::input(format!("{place}: {what}")).hint(format!("{cure}{or}pass such records over with bad_records: skip")))
}

/// A record that is longer than [`MAX_DOCUMENT_BYTES`].
pub(super) fn too_long(place: &Place, limit: usize, cure: &str) -> Flaw {
    bad_record(place, format!("a record of more than {limit} bytes, the most that a document may have"), cure)
}

/// The text in `bytes`, which begin at `offset` of the (decompressed) file.
pub(super) fn text_of<'a>(bytes: &'a [u8], offset: u64, place: &Place) -> std::result::Result<&'a str, Flaw> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = offset + error.valid_up_to() as u64;
        bad_record(place, format!("byte {at} of the file is not UTF-8"), "convert the file to UTF-8")
    })
}

/// Checks what a config can get wrong.
pub(super) fn check_settings(settings: &DocumentSettings) -> Result<()> {
    if settings.document_separator.as_deref() == Some("") {
        return Err(Error::input("document_separator is empty").hint("leave it out (null) to take each file as one document"));
    }
    if settings.text_field.split('.').any(str::is_empty) {
        let message = format!("text_field {:?} names no field", settings.text_field);
        return Err(Error::input(message).hint("a dot stands between the name of an object and that of a field in it"));
    }
    Ok(())
}
