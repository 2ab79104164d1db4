//! The text column of a `.parquet`, row by row. Owns which column that is and what a row without text is; `guarded` keeps a file
//! that lies about its sizes from taking all memory.
//!
//! The column is read value by value and not as Arrow arrays: a value is then a view into its page, so that a page and a few values
//! are all that is in memory, and the Arrow crates are not needed.

mod guarded;
mod thrift;

use super::document::{ANOTHER_FIELD, Document, DocumentSettings, Flaw, Place, Records, Within, bad_record, listed, too_long};
use crate::error::catch_panic;
use crate::{Context, Error, Result};
use ::parquet::basic::Type;
use ::parquet::column::page::PageReader;
use ::parquet::column::reader::ColumnReaderImpl;
use ::parquet::data_type::{ByteArray, ByteArrayType};
use ::parquet::errors::ParquetError;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::schema::types::{ColumnDescPtr, ColumnDescriptor, SchemaDescriptor};
use guarded::{GuardedFile, GuardedPages};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Rows that are decoded at once.
const ROWS_AT_ONCE: usize = 16;
/// The shortest file: a magic at both ends, and the length of the metadata.
const LEAST_BYTES: u64 = 12;

/// The rows of a file.
pub(super) struct ParquetRows {
    path: Arc<Path>,
    file: SerializedFileReader<GuardedFile>,
    column: usize,
    limit: usize,
    /// The group of rows that is opened next.
    next_group: usize,
    group: Option<Group>,
    /// Values that are decoded and not yet given, the last row first.
    decoded: Vec<Option<ByteArray>>,
    row: u64,
}

/// A group of rows being read.
struct Group {
    reader: ColumnReaderImpl<ByteArrayType>,
    /// The level of a value that is there; 0 where none can be absent.
    full_level: i16,
    rows_left: u64,
}

impl ParquetRows {
    /// Opens the file and finds the column `text_field`. `limit` is the most bytes a document may have.
    ///
    /// # Errors
    /// A file that is no parquet, is damaged, or has no such column of text.
    pub fn open(path: &Arc<Path>, settings: &DocumentSettings, limit: usize, bytes_read: &Arc<AtomicU64>) -> Result<Self> {
        let file = File::open(path).context(|| format!("opening {}", path.display()))?;
        let guarded = GuardedFile::new(file, Arc::clone(bytes_read)).context(|| format!("opening {}", path.display()))?;
        if guarded.length() < LEAST_BYTES {
            return Err(broken(path, "it is too short to be a .parquet"));
        }
        let file = caught(path, || {
            guarded.check_footer()?;
            SerializedFileReader::new(guarded)
        })?;
        let column = find_column(path, file.metadata().file_metadata().schema_descr(), &settings.text_field)?;
        Ok(Self { path: Arc::clone(path), file, column, limit, next_group: 0, group: None, decoded: Vec::new(), row: 0 })
    }

    /// The value of the next row, none where it is null; none behind the last row.
    fn next_value(&mut self) -> Result<Option<Option<ByteArray>>> {
        let path = Arc::clone(&self.path);
        while self.decoded.is_empty() {
            if self.group.as_ref().is_none_or(|group| group.rows_left == 0) {
                if self.next_group == self.file.num_row_groups() {
                    return Ok(None);
                }
                self.group = Some(caught(&path, || self.open_group())?);
            } else if let Some(group) = &mut self.group {
                self.decoded = caught(&path, || group.decode())?;
            }
        }
        Ok(self.decoded.pop())
    }

    fn open_group(&mut self) -> std::result::Result<Group, ParquetError> {
        let group = self.file.get_row_group(self.next_group)?;
        self.next_group += 1;
        let description: ColumnDescPtr = group.metadata().schema_descr().column(self.column);
        let num_rows = u64::try_from(group.metadata().num_rows())?;
        let pages = GuardedPages::new(group.get_column_page_reader(self.column)?, description.max_def_level() > 0);
        let full_level = description.max_def_level();
        let pages: Box<dyn PageReader> = Box::new(pages);
        Ok(Group { reader: ColumnReaderImpl::new(description, pages), full_level, rows_left: num_rows })
    }
}

impl Group {
    /// Some values, the last first.
    fn decode(&mut self) -> std::result::Result<Vec<Option<ByteArray>>, ParquetError> {
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let wanted = usize::try_from(self.rows_left).unwrap_or(usize::MAX).min(ROWS_AT_ONCE);
        let (num_rows, _, _) = self.reader.read_records(wanted, Some(&mut levels), None, &mut values)?;
        if num_rows == 0 {
            return Err(ParquetError::General(format!("a group of rows ends {} rows early", self.rows_left)));
        }
        self.rows_left -= num_rows as u64;
        let mut values = values.into_iter();
        let is_there = |row: usize| self.full_level == 0 || levels.get(row) == Some(&self.full_level);
        let mut rows: Vec<_> = (0..num_rows).map(|row| if is_there(row) { values.next() } else { None }).collect();
        rows.reverse();
        Ok(rows)
    }
}

impl Records for ParquetRows {
    fn next_document(&mut self) -> std::result::Result<Option<Document>, Flaw> {
        let Some(value) = self.next_value()? else { return Ok(None) };
        self.row += 1;
        let place = Place { file: Arc::clone(&self.path), record: self.row, within: Within::Table };
        let value = value.ok_or_else(|| bad_record(&place, "there is no text (null)", ""))?;
        if value.len() > self.limit {
            return Err(too_long(&place, self.limit, ""));
        }
        let text = std::str::from_utf8(value.data());
        let text = text.map_err(|error| bad_record(&place, format!("byte {} of the text is not UTF-8", error.valid_up_to()), ""))?;
        Ok(Some(Document { text: text.to_owned(), place }))
    }
}

fn find_column(path: &Path, schema: &SchemaDescriptor, text_field: &str) -> Result<usize> {
    let is_wanted = |column: &ColumnDescriptor| column.path().string() == text_field;
    let Some(at) = schema.columns().iter().position(|column| is_wanted(column)) else {
        let names: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
        let message = format!("{}: there is no column {text_field:?}; there {}", path.display(), listed(names.iter().map(String::as_str)));
        return Err(Error::input(message).hint(ANOTHER_FIELD));
    };
    let column = schema.column(at);
    let what = match (column.physical_type(), column.max_rep_level()) {
        (Type::BYTE_ARRAY, 0) => return Ok(at),
        (Type::BYTE_ARRAY, _) => "a list".to_owned(),
        (other, _) => format!("of type {other}"),
    };
    let message = format!("{}: the column {text_field:?} is {what}, not text", path.display());
    Err(Error::input(message).hint(ANOTHER_FIELD))
}

/// What `act` gives; whatever is wrong with the file, a panic of the crate included, is an error that names it.
fn caught<T>(path: &Path, act: impl FnOnce() -> std::result::Result<T, ParquetError>) -> Result<T> {
    match catch_panic(act) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(broken(path, &error.to_string())),
        Err(panic) => {
            let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(broken(path, message.unwrap_or("it cannot be read")))
        }
    }
}

fn broken(path: &Path, reason: &str) -> Error {
    Error::input(format!("{} cannot be read as parquet: {reason}", path.display()))
        .hint("it is cut short, damaged or unusual: fetch it again")
}
