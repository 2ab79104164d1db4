//! A file that is written: what it will hold is said first, which gives the header, then the tensors come one at a time, so that no two of
//! them are in memory at once. Making the whole file durable is left to the owner of what is written to.

use super::value::ValueType;
use super::{ALIGNMENT, MAGIC, TensorType};
use crate::{Context, Error, Result};
use std::io::Write;

/// The version that is written.
const VERSION: u32 = 3;

/// What a file will hold: metadata, and the shapes of its tensors.
#[derive(Debug, Default)]
pub struct Layout {
    metadata: Vec<u8>,
    keys: Vec<String>,
    tensors: Vec<Planned>,
    data_bytes: u64,
}

#[derive(Debug)]
struct Planned {
    name: String,
    kind: TensorType,
    dimensions: Vec<u64>,
    start: u64,
    num_bytes: u64,
}

/// A file whose header is written, and whose tensors follow in the order of its [`Layout`].
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    tensors: std::vec::IntoIter<Planned>,
}

impl Layout {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A text.
    ///
    /// # Errors
    /// Ours, as of every key: it is there already.
    pub fn text(&mut self, key: &str, text: &str) -> Result<()> {
        self.key(key, ValueType::Text)?;
        append_text(&mut self.metadata, text);
        Ok(())
    }

    /// A number without a sign, of 32 bits.
    pub fn unsigned(&mut self, key: &str, number: u32) -> Result<()> {
        self.key(key, ValueType::Uint32)?;
        self.metadata.extend(number.to_le_bytes());
        Ok(())
    }

    /// A number of 32 bits.
    pub fn float(&mut self, key: &str, number: f32) -> Result<()> {
        self.key(key, ValueType::Float32)?;
        self.metadata.extend(number.to_le_bytes());
        Ok(())
    }

    /// A bool.
    pub fn boolean(&mut self, key: &str, is_set: bool) -> Result<()> {
        self.key(key, ValueType::Bool)?;
        self.metadata.push(u8::from(is_set));
        Ok(())
    }

    /// An array of texts.
    pub fn texts<T: AsRef<str>>(&mut self, key: &str, texts: &[T]) -> Result<()> {
        self.array(key, ValueType::Text, texts.len())?;
        texts.iter().for_each(|text| append_text(&mut self.metadata, text.as_ref()));
        Ok(())
    }

    /// An array of whole numbers of 32 bits.
    pub fn integers(&mut self, key: &str, numbers: &[i32]) -> Result<()> {
        self.array(key, ValueType::Int32, numbers.len())?;
        self.metadata.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        Ok(())
    }

    /// An array of numbers of 32 bits.
    pub fn floats(&mut self, key: &str, numbers: &[f32]) -> Result<()> {
        self.array(key, ValueType::Float32, numbers.len())?;
        self.metadata.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        Ok(())
    }

    /// A tensor behind those that are there; the innermost axis of `dimensions` comes first.
    ///
    /// # Errors
    /// The user's: a shape that the type cannot have. Ours: a tensor of this name is there already.
    pub fn tensor(&mut self, name: &str, kind: TensorType, dimensions: &[u64]) -> Result<()> {
        if self.tensors.iter().any(|tensor| tensor.name == name) {
            return Err(Error::ours(format!("tensor {name} is written twice")));
        }
        let num_bytes = kind.num_bytes(dimensions).map_err(|error| error.context(format!("tensor {name}")))?;
        let start = self.data_bytes;
        self.data_bytes = start.saturating_add(num_bytes).next_multiple_of(ALIGNMENT);
        self.tensors.push(Planned { name: name.to_owned(), kind, dimensions: dimensions.to_vec(), start, num_bytes });
        Ok(())
    }

    /// The header: everything before the data, padding included.
    fn header(&self) -> Vec<u8> {
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend((self.keys.len() as u64).to_le_bytes());
        header.extend(&self.metadata);
        for Planned { name, kind, dimensions, start, .. } in &self.tensors {
            append_text(&mut header, name);
            header.extend((dimensions.len() as u32).to_le_bytes());
            header.extend(dimensions.iter().flat_map(|axis| axis.to_le_bytes()));
            header.extend(kind.id().to_le_bytes());
            header.extend(start.to_le_bytes());
        }
        header.resize(header.len().next_multiple_of(ALIGNMENT as usize), 0);
        header
    }

    fn key(&mut self, key: &str, kind: ValueType) -> Result<()> {
        if self.keys.iter().any(|other| other == key) {
            return Err(Error::ours(format!("the key `{key}` is written twice")));
        }
        self.keys.push(key.to_owned());
        append_text(&mut self.metadata, key);
        self.metadata.extend(kind.id().to_le_bytes());
        Ok(())
    }

    fn array(&mut self, key: &str, element: ValueType, count: usize) -> Result<()> {
        self.key(key, ValueType::Array)?;
        self.metadata.extend(element.id().to_le_bytes());
        self.metadata.extend((count as u64).to_le_bytes());
        Ok(())
    }
}

fn append_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

impl<W: Write> Writer<W> {
    /// Writes the header of `layout` to `out`.
    ///
    /// # Errors
    /// Ours: it cannot be written.
    pub fn begin(layout: Layout, mut out: W) -> Result<Self> {
        out.write_all(&layout.header()).context(|| "writing the header")?;
        Ok(Self { out, tensors: layout.tensors.into_iter() })
    }

    /// Writes the next tensor, which has to be `name`.
    ///
    /// # Errors
    /// Ours: another tensor is due, `bytes` are not as many as its shape takes, or they cannot be written.
    pub fn tensor(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.tensor_in_parts(name, |part| part(bytes))
    }

    /// Writes the next tensor, which has to be `name`: `write` gives its bytes away in parts.
    ///
    /// # Errors
    /// As [`Self::tensor`] has it, and those of `write`.
    pub fn tensor_in_parts(&mut self, name: &str, write: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>) -> Result<()> {
        let due = self.tensors.next().filter(|due| due.name == name);
        let due = due.ok_or_else(|| Error::ours(format!("tensor {name} is written, but another or none is due")))?;
        let (mut num_bytes, out) = (0, &mut self.out);
        write(&mut |part| {
            num_bytes += part.len() as u64;
            out.write_all(part).context(|| format!("writing tensor {name}"))
        })?;
        if num_bytes != due.num_bytes {
            return Err(Error::ours(format!("tensor {name} of {num_bytes} bytes is written where {} are due", due.num_bytes)));
        }
        let padding = num_bytes.next_multiple_of(ALIGNMENT) - num_bytes;
        self.out.write_all(&[0; ALIGNMENT as usize][..padding as usize]).context(|| format!("writing tensor {name}"))
    }

    /// What was written to, once all tensors are.
    ///
    /// # Errors
    /// Ours: a tensor was not written.
    pub fn finish(mut self) -> Result<W> {
        match self.tensors.next() {
            Some(missing) => Err(Error::ours(format!("tensor {} was not written", missing.name))),
            None => Ok(self.out),
        }
    }
}
