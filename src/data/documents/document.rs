//! A document, where it came from, and what is done about a record that holds none.

use crate::config::BadRecords;
use crate::error::counted;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// So many bytes may a document have, and so many the record that it is written in: a `.txt` without separator, a line of a `.jsonl`, an
/// element of a `.json`, a row of a `.parquet`. A few of them are in memory at a time.
pub const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// So many fields are named in a message.
const MAX_NAMED: usize = 20;

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
    /// How many of them lacked the field of the text.
    #[serde(default)]
    pub without_field: u64,
    /// Fields that those had instead, some of them.
    #[serde(default)]
    pub fields: Vec<String>,
}

impl Skipped {
    const MAX_REASONS: usize = 5;
    const MAX_FIELDS: usize = 20;

    pub(super) fn add(&mut self, reason: &Error) {
        self.records += 1;
        if self.reasons.len() < Self::MAX_REASONS {
            self.reasons.push(reason.message());
        }
    }

    pub(super) fn add_without_field(&mut self, reason: &Error, fields: Vec<String>) {
        self.add(reason);
        self.without_field += 1;
        for field in fields {
            if self.fields.len() < Self::MAX_FIELDS && !self.fields.contains(&field) {
                self.fields.push(field);
            }
        }
    }
}

impl Skipped {
    /// The error for a corpus in which these were passed over and nothing was left.
    pub fn no_documents(&self) -> Error {
        if self.records == 0 {
            return Error::input("there is no document in the files of the corpus").hint("are the files as they are meant?");
        }
        Error::input(format!("there is no document in the files of the corpus: {self}")).hint(ANOTHER_FIELD)
    }
}

/// How many, which field was missed and what was there in its place, or else what was wrong with the first few.
impl fmt::Display for Skipped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", counted(self.records, "bad record"))?;
        if self.without_field == 0 {
            return write!(formatter, ", such as: {}", self.reasons.join("; "));
        }
        let fields = self.fields.iter().map(String::as_str);
        write!(formatter, ", {} of them without the field of the text; there {}", self.without_field, listed(fields))?;
        match self.without_field < self.records {
            true => write!(formatter, "; such as: {}", self.reasons.join("; ")),
            false => Ok(()),
        }
    }
}

/// Why there is no document where one was looked for.
#[derive(Debug)]
pub(super) enum Flaw {
    /// The record is bad; the next one can be read.
    Record(Error),
    /// The record lacks the field of the text, and has these; the next one can be read.
    NoField(Error, Vec<String>),
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

/// What takes another field for the text.
pub(super) const ANOTHER_FIELD: &str = "--set data.text.text_field=NAME takes another field for the text";
const PASS_OVER: &str = "--set data.text.bad_records=skip passes such records over";

/// A record that lacks the field of the text, and what it has instead.
pub(super) fn no_field<'a>(place: &Place, text_field: &str, fields: impl Iterator<Item = &'a str> + Clone) -> Flaw {
    let message = format!("{place}: there is no field {text_field:?}; there {}", listed(fields.clone()));
    let fields = fields.take(MAX_NAMED).map(shortened).collect();
    Flaw::NoField(Error::input(message).hint(format!("{ANOTHER_FIELD}, or {PASS_OVER}")), fields)
}

/// "are "a", "b"", or "is none".
pub(super) fn listed<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let mut fields = fields.map(|name| format!("{:?}", shortened(name)));
    let first: Vec<String> = fields.by_ref().take(MAX_NAMED).collect();
    match (first.len(), fields.count()) {
        (0, _) => "is none".to_owned(),
        (1, _) => format!("is {}", first[0]),
        (_, 0) => format!("are {}", first.join(", ")),
        (_, more) => format!("are {} and {more} more", first.join(", ")),
    }
}

fn shortened(name: &str) -> String {
    const MAX_CHARACTERS: usize = 60;
    name.chars().take(MAX_CHARACTERS).collect()
}

/// A record that is bad, with the cure of all of them.
pub(super) fn bad_record(place: &Place, what: impl fmt::Display, cure: &str) -> Flaw {
    let or = if cure.is_empty() { "" } else { ", or " };
    Flaw::Record(Error::input(format!("{place}: {what}")).hint(format!("{cure}{or}{PASS_OVER}")))
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
        let hint = "--set data.text.document_separator=null takes each file as one document";
        return Err(Error::input("document_separator is empty").hint(hint));
    }
    if settings.text_field.split('.').any(str::is_empty) {
        let message = format!("text_field {:?} names no field", settings.text_field);
        return Err(Error::input(message).hint("a dot stands between the name of an object and that of a field in it"));
    }
    Ok(())
}
