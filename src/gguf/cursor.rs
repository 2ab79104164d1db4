//! The bytes of a header, read from the front: every length is checked against what is left before anything is taken, and every error
//! names file and offset.

use super::value::{Array, Value, ValueType};
use crate::{Error, Result};

/// A place in a file.
pub(super) struct Cursor<'a> {
    name: &'a str,
    bytes: &'a [u8],
    offset: usize,
    /// What is being read.
    pub reading: String,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`, the file `name`.
    pub fn new(name: &'a str, bytes: &'a [u8]) -> Self {
        Self { name, bytes, offset: 0, reading: "the header".into() }
    }

    /// Bytes from the start of the file.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What is wrong at this place.
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::input(format!("{}: byte {}: {}: {message}", self.name, self.offset, self.reading))
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.offset..];
        let Some((taken, _)) = rest.split_at_checked(count) else {
            let message = format!("{count} bytes are due, but the file has only {} more", rest.len());
            return Err(self.error(message).hint("it may be cut short: fetch it again"));
        };
        self.offset += count;
        Ok(taken)
    }

    pub fn u32(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    pub fn u64(&mut self) -> Result<u64> {
        let bytes = self.take(8)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A number of things, each of at least `least_bytes`, that can still follow.
    pub fn count(&mut self, things: &str, least_bytes: usize) -> Result<usize> {
        let count = self.u64()?;
        let left = self.bytes.len() - self.offset;
        let fits = usize::try_from(count).ok().filter(|count| count.checked_mul(least_bytes).is_some_and(|bytes| bytes <= left));
        fits.ok_or_else(|| {
            self.error(format!("{count} {things} do not fit into the {left} bytes that are left")).hint("the file is damaged")
        })
    }

    pub fn text(&mut self) -> Result<&'a str> {
        let length = self.count("bytes of text", 1)?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|error| self.error(format!("the text before this place is no UTF-8: {error}")))
    }

    /// A value behind its type.
    pub fn value(&mut self) -> Result<Value> {
        match self.value_type()? {
            ValueType::Text => Ok(Value::Text(self.text()?.to_owned())),
            ValueType::Array => self.array().map(Value::Array),
            kind => {
                let bytes = self.take(kind.width().unwrap_or_default())?;
                Value::of_bytes(kind, bytes).map_err(|error| self.error(error))
            }
        }
    }

    fn value_type(&mut self) -> Result<ValueType> {
        let id = self.u32()?;
        ValueType::of_id(id).ok_or_else(|| self.error(format!("{id} is no type of value")).hint("the file is damaged"))
    }

    fn array(&mut self) -> Result<Array> {
        let element = self.value_type()?;
        if element == ValueType::Array {
            return Err(self.error("arrays in arrays are not supported"));
        }
        let count = self.count("elements", element.width().unwrap_or(8))?;
        let start = self.offset;
        match element.width() {
            Some(width) => {
                let bytes = self.take(count * width)?;
                if element == ValueType::Bool && bytes.iter().any(|byte| *byte > 1) {
                    return Err(self.error("a bool before this place is neither 0 nor 1"));
                }
            }
            None => (0..count).try_for_each(|_| self.text().map(drop))?,
        }
        Ok(Array { element, count, range: start..self.offset })
    }
}
