//! Metadata values: numbers, texts, and arrays of them. Arrays stay where they lie in the file until they are asked for, so that reading a
//! header takes no more memory than the file has bytes.

use crate::{Error, Result};
use std::ops::Range;

/// What a value is, by its number in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ValueType {
    Uint8,
    Int8,
    Uint16,
    Int16,
    Uint32,
    Int32,
    Float32,
    Bool,
    Text,
    Array,
    Uint64,
    Int64,
    Float64,
}

const TYPES: [ValueType; 13] = [
    ValueType::Uint8,
    ValueType::Int8,
    ValueType::Uint16,
    ValueType::Int16,
    ValueType::Uint32,
    ValueType::Int32,
    ValueType::Float32,
    ValueType::Bool,
    ValueType::Text,
    ValueType::Array,
    ValueType::Uint64,
    ValueType::Int64,
    ValueType::Float64,
];

impl ValueType {
    /// The type that a file means by `id`.
    pub fn of_id(id: u32) -> Option<Self> {
        TYPES.get(id as usize).copied()
    }

    /// What a file writes for it.
    pub fn id(self) -> u32 {
        self as u32
    }

    /// Bytes of a value; none where it depends on the value.
    pub fn width(self) -> Option<usize> {
        match self {
            Self::Uint8 | Self::Int8 | Self::Bool => Some(1),
            Self::Uint16 | Self::Int16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Float32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Float64 => Some(8),
            Self::Text | Self::Array => None,
        }
    }
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number without a sign, of whatever width.
    Unsigned(u64),
    /// A number with one.
    Signed(i64),
    /// A number with a fraction, of either width.
    Float(f64),
    Bool(bool),
    Text(String),
    Array(Array),
}

/// An array where it lies in its file: its elements have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    /// What its elements are.
    pub element: ValueType,
    /// How many there are.
    pub count: usize,
    /// Where they lie, in bytes from the start of the file.
    pub range: Range<usize>,
}

impl Value {
    /// The number of type `kind` in `bytes`, which are as many as its width.
    ///
    /// # Errors
    /// The user's: a bool that is neither 0 nor 1. Ours: a type without a width.
    pub(super) fn of_bytes(kind: ValueType, bytes: &[u8]) -> Result<Self> {
        let mut wide = [0; 8];
        let width = bytes.len().min(8);
        wide[..width].copy_from_slice(&bytes[..width]);
        let unsigned = u64::from_le_bytes(wide);
        let unused = 64 - 8 * width.max(1) as u32;
        Ok(match kind {
            ValueType::Uint8 | ValueType::Uint16 | ValueType::Uint32 | ValueType::Uint64 => Self::Unsigned(unsigned),
            ValueType::Int8 | ValueType::Int16 | ValueType::Int32 | ValueType::Int64 => {
                Self::Signed((unsigned << unused).cast_signed() >> unused)
            }
            ValueType::Float32 => Self::Float(f64::from(f32::from_bits(unsigned as u32))),
            ValueType::Float64 => Self::Float(f64::from_bits(unsigned)),
            ValueType::Bool if unsigned > 1 => return Err(Error::input(format!("the bool is {unsigned}, not 0 or 1"))),
            ValueType::Bool => Self::Bool(unsigned == 1),
            ValueType::Text | ValueType::Array => return Err(Error::ours(format!("{kind:?} has no width"))),
        })
    }

    /// Cut when long, for messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Unsigned(number) => number.to_string(),
            Self::Signed(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(is_set) => is_set.to_string(),
            Self::Text(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
            Self::Array(array) => format!("an array of {} {:?}", array.count, array.element),
        }
    }
}
