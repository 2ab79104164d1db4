//! A file that is read: its metadata by key, and its tensors by name, each where it lies. Everything that a header says of itself is
//! checked here, once; what keys and tensors mean is the caller's business.

use super::cursor::Cursor;
use super::{ALIGNMENT, ALIGNMENT_KEY, Array, MAGIC, MAX_DIMENSIONS, TensorType, Value, ValueType};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ops::{Deref, Range};

/// Bytes of the shortest key with its value: two lengths and a byte.
const LEAST_ENTRY: usize = 8 + 4 + 1;
/// Bytes of the shortest entry of the tensor table.
const LEAST_TENSOR: usize = 8 + 4 + 8 + 4 + 8;
/// The largest alignment that makes sense: a page of any system.
const LARGEST_ALIGNMENT: u64 = 1 << 16;

/// A checked file in the memory `B`, such as a mapped one.
#[derive(Debug)]
pub struct File<B> {
    name: String,
    bytes: B,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Place>,
}

/// Where a tensor lies.
#[derive(Debug)]
struct Place {
    kind: TensorType,
    dimensions: Vec<u64>,
    range: Range<usize>,
}

/// A tensor where it lies.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    /// How its numbers are stored.
    pub kind: TensorType,
    /// Its shape, the innermost axis first: a matrix `[outputs, inputs]` has `[inputs, outputs]`.
    pub dimensions: &'a [u64],
    /// As many as type and shape take.
    pub bytes: &'a [u8],
}

/// An entry of the tensor table, before the data's start is known.
struct TableEntry {
    name: String,
    kind: TensorType,
    dimensions: Vec<u64>,
    start: u64,
    num_bytes: u64,
}

impl<B: Deref<Target = [u8]>> File<B> {
    /// Reads and checks the header of `bytes`; `name` stands for the file in messages. Takes no more memory than a few times the header.
    ///
    /// # Errors
    /// The user's, with byte and key: no GGUF file of version 2 or 3, or one whose header lies.
    pub fn parse(name: &str, bytes: B) -> Result<Self> {
        let mut cursor = Cursor::new(name, &bytes);
        check_version(&mut cursor)?;
        let num_tensors = cursor.count("tensors", LEAST_TENSOR)?;
        let num_entries = cursor.count("metadata entries", LEAST_ENTRY)?;
        let metadata = read_metadata(&mut cursor, num_entries)?;
        let alignment = alignment(&metadata).map_err(|message| cursor.error(message))?;
        let table = read_table(&mut cursor, num_tensors, alignment)?;
        let tensors = place_all(&cursor, table, alignment, bytes.len())?;
        Ok(Self { name: name.to_owned(), metadata, tensors, bytes })
    }

    /// An error about this file.
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::input(format!("{}: {message}", self.name))
    }

    /// The value of `key`, if there is one.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// All metadata, by key.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.metadata.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The tensor `name`, if there is one.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let Place { kind, dimensions, range } = self.tensors.get(name)?;
        Some(Tensor { kind: *kind, dimensions, bytes: &self.bytes[range.clone()] })
    }

    /// The names of all tensors, in order.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A text; none where there is no such key.
    ///
    /// # Errors
    /// The user's: another type.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A number of 0 or more without a fraction, of any type; none where there is no such key.
    ///
    /// # Errors
    /// The user's: another type, or below 0.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "a whole number of 0 or more", |value| match value {
            Value::Unsigned(number) => Some(*number),
            Value::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        })
    }

    /// A number, of any type; none where there is no such key.
    ///
    /// # Errors
    /// The user's: another type.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", |value| match value {
            Value::Float(number) => Some(*number),
            Value::Unsigned(number) => Some(*number as f64),
            Value::Signed(number) => Some(*number as f64),
            _ => None,
        })
    }

    /// A bool; none where there is no such key.
    ///
    /// # Errors
    /// The user's: another type.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a bool", |value| match value {
            Value::Bool(is_set) => Some(*is_set),
            _ => None,
        })
    }

    /// An array of texts; none where there is no such key.
    ///
    /// # Errors
    /// The user's: another type.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<&str>>> {
        let Some(Array { count, range, .. }) = self.array(key, "an array of texts", |kind| kind == ValueType::Text)? else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(&self.name, &self.bytes[range.clone()]);
        (0..*count).map(|_| cursor.text()).collect::<Result<_>>().map(Some)
    }

    /// An array of numbers, of any type; none where there is no such key.
    ///
    /// # Errors
    /// The user's: another type.
    pub fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        let is_number = |kind: ValueType| kind.width().is_some() && kind != ValueType::Bool;
        let Some(Array { element, range, .. }) = self.array(key, "an array of numbers", is_number)? else { return Ok(None) };
        let number = |bytes| match Value::of_bytes(*element, bytes)? {
            Value::Unsigned(number) => Ok(number as f64),
            Value::Signed(number) => Ok(number as f64),
            Value::Float(number) => Ok(number),
            _ => Err(Error::ours("an array's type was not checked")),
        };
        self.bytes[range.clone()].chunks_exact(element.width().unwrap_or(1)).map(number).collect::<Result<_>>().map(Some)
    }

    fn array(&self, key: &str, expected: &str, is_fine: impl Fn(ValueType) -> bool) -> Result<Option<&Array>> {
        self.typed(key, expected, |value| match value {
            Value::Array(array) if is_fine(array.element) => Some(array),
            _ => None,
        })
    }

    fn typed<'a, T>(&'a self, key: &str, expected: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Result<Option<T>> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(self.error(format!("`{key}` is {}, expected {expected}", value.shown()))),
        }
    }
}

fn check_version(cursor: &mut Cursor<'_>) -> Result<()> {
    if cursor.take(MAGIC.len())? != MAGIC {
        return Err(cursor.error("this is no GGUF file: it does not begin with GGUF"));
    }
    match cursor.u32()? {
        2 | 3 => Ok(()),
        version if matches!(version.swap_bytes(), 1..=3) => Err(cursor.error("a file of a big-endian machine is not read here")),
        version => Err(cursor.error(format!("version {version} is not read here, but 2 and 3")).hint("convert the model again")),
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, count: usize) -> Result<BTreeMap<String, Value>> {
    let mut metadata = BTreeMap::new();
    for index in 0..count {
        cursor.reading = format!("metadata entry {index}");
        let key = cursor.text()?.to_owned();
        cursor.reading = format!("`{key}`");
        let value = cursor.value()?;
        if metadata.insert(key, value).is_some() {
            return Err(cursor.error("this key is there twice"));
        }
    }
    Ok(metadata)
}

fn alignment(metadata: &BTreeMap<String, Value>) -> std::result::Result<u64, String> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(ALIGNMENT),
        Some(Value::Unsigned(number)) if number.is_power_of_two() && *number <= LARGEST_ALIGNMENT => Ok(*number),
        Some(value) => Err(format!("`{ALIGNMENT_KEY}` is {}, not a power of two of at most {LARGEST_ALIGNMENT}", value.shown())),
    }
}

fn read_table(cursor: &mut Cursor<'_>, count: usize, alignment: u64) -> Result<Vec<TableEntry>> {
    let mut table = Vec::with_capacity(count);
    for index in 0..count {
        cursor.reading = format!("entry {index} of the tensor table");
        let name = cursor.text()?.to_owned();
        cursor.reading = format!("tensor {name:?}");
        let num_dimensions = cursor.u32()? as usize;
        if num_dimensions > MAX_DIMENSIONS {
            return Err(cursor.error(format!("{num_dimensions} axes are more than {MAX_DIMENSIONS}")));
        }
        let dimensions = (0..num_dimensions).map(|_| cursor.u64()).collect::<Result<Vec<_>>>()?;
        let id = cursor.u32()?;
        let kind = TensorType::of_id(id).ok_or_else(|| cursor.error(format!("{id} is no type that is known here")))?;
        let num_bytes = kind.num_bytes(&dimensions).map_err(|error| cursor.error(error))?;
        let start = cursor.u64()?;
        if start % alignment != 0 {
            return Err(cursor.error(format!("it starts at {start} of the data, which is no multiple of {alignment}")));
        }
        table.push(TableEntry { name, kind, dimensions, start, num_bytes });
    }
    cursor.reading = "the tensor table".into();
    Ok(table)
}

/// Where the tensors lie in the file: behind the table, each in the file and in no other's place.
fn place_all(cursor: &Cursor<'_>, mut table: Vec<TableEntry>, alignment: u64, file_bytes: usize) -> Result<BTreeMap<String, Place>> {
    let data_start = (cursor.offset() as u64).next_multiple_of(alignment);
    let (mut places, mut free_from) = (BTreeMap::new(), 0);
    table.sort_by_key(|entry| entry.start);
    for TableEntry { name, kind, dimensions, start, num_bytes } in table {
        let wrong = |message: String| cursor.error(format!("tensor {name:?} {message}")).hint("the file is damaged or cut short");
        if start < free_from {
            return Err(wrong(format!("starts at {start} of the data, inside the tensor before it, which ends at {free_from}")));
        }
        let end = start.checked_add(num_bytes).and_then(|end| Some((end, usize::try_from(data_start.checked_add(end)?).ok()?)));
        let Some((end, file_end)) = end.filter(|(_, file_end)| *file_end <= file_bytes) else {
            return Err(wrong(format!("has {num_bytes} bytes from {start} of the data on, beyond the end of the file")));
        };
        free_from = end;
        let place = Place { kind, dimensions, range: file_end - num_bytes as usize..file_end };
        if places.insert(name.clone(), place).is_some() {
            return Err(wrong("is there twice".into()));
        }
    }
    Ok(places)
}
