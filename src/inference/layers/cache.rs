//! What the engine remembers of one text, so that its next token costs one position: for each layer two stores of rows by position. What a
//! row holds is left to `attention`. Memory is taken once, for the longest text that the cache is made for.

use crate::config::{Attention, ModelConfig};
use crate::dense::{Bf16, Number};
use crate::{Error, Result};

/// How the numbers of a cache are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum CacheFormat {
    /// Four bytes a number, nothing is rounded.
    #[default]
    Float32,
    /// Two bytes a number.
    Bfloat16,
}

/// The memory of one text; it begins empty.
#[derive(Debug)]
pub struct Cache {
    pub(super) layers: Vec<LayerCache>,
    shape: CacheShape,
    capacity: usize,
    length: usize,
}

/// The memory of one layer: turned keys and values, or normed latents and the turned key that all heads share.
#[derive(Debug)]
pub(super) struct LayerCache {
    pub first: Store,
    pub second: Store,
}

/// Rows `[heads, capacity, width]`: those of one head lie together.
#[derive(Debug)]
pub(super) struct Store {
    numbers: Numbers,
    width: usize,
    capacity: usize,
}

#[derive(Debug)]
enum Numbers {
    Float32(Vec<f32>),
    Bfloat16(Vec<Bf16>),
}

/// Heads and widths of both stores of every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CacheShape {
    layers: usize,
    heads: usize,
    widths: [usize; 2],
}

impl CacheShape {
    pub fn of(model: &ModelConfig) -> Self {
        let (heads, widths) = match model.attention {
            Attention::GroupedQuery => (model.num_key_value_heads, [model.head_dim(); 2]),
            Attention::Latent(latent) => (1, [latent.kv_lora_rank, latent.qk_rope_head_dim]),
        };
        Self { layers: model.num_hidden_layers, heads, widths }
    }
}

impl Cache {
    /// Room for `capacity` tokens.
    pub(super) fn new(shape: CacheShape, capacity: usize, format: CacheFormat) -> Result<Self> {
        let store = |width: usize| Store::new(shape.heads, capacity, width, format);
        let layer = |_| Ok(LayerCache { first: store(shape.widths[0])?, second: store(shape.widths[1])? });
        Ok(Self { layers: (0..shape.layers).map(layer).collect::<Result<_>>()?, shape, capacity, length: 0 })
    }

    /// Tokens that have been read.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing has been read.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The most tokens that it can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that it takes when it is full.
    pub fn num_bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.first.num_bytes() + layer.second.num_bytes()).sum()
    }

    /// Forgets all but the first `length` tokens.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    pub(super) fn has_shape(&self, shape: CacheShape) -> bool {
        self.shape == shape
    }

    /// From now on `count` more tokens have been read.
    pub(super) fn advance(&mut self, count: usize) {
        self.length += count;
    }
}

impl Store {
    fn new(heads: usize, capacity: usize, width: usize, format: CacheFormat) -> Result<Self> {
        let count = heads.checked_mul(capacity).and_then(|rows| rows.checked_mul(width)).unwrap_or(usize::MAX);
        // Asking first turns an abort into an error; zeros that nobody reads take no memory yet.
        Vec::<f32>::new().try_reserve_exact(count).map_err(|_| no_memory(count.saturating_mul(4)))?;
        let numbers = match format {
            CacheFormat::Float32 => Numbers::Float32(vec![0.0; count]),
            CacheFormat::Bfloat16 => Numbers::Bfloat16(vec![Bf16(0); count]),
        };
        Ok(Self { numbers, width, capacity })
    }

    fn num_bytes(&self) -> usize {
        match &self.numbers {
            Numbers::Float32(numbers) => size_of_val(&numbers[..]),
            Numbers::Bfloat16(numbers) => size_of_val(&numbers[..]),
        }
    }

    /// Keeps the rows of all heads, `[heads, width]`, at `position`.
    pub fn write(&mut self, position: usize, rows: &[f32]) {
        for (head, row) in rows.chunks_exact(self.width).enumerate() {
            let start = (head * self.capacity + position) * self.width;
            let place = start..start + self.width;
            match &mut self.numbers {
                Numbers::Float32(numbers) => numbers[place].copy_from_slice(row),
                Numbers::Bfloat16(numbers) => {
                    numbers[place].iter_mut().zip(row).for_each(|(kept, &number)| *kept = Bf16::from_f32(number));
                }
            }
        }
    }

    /// The first `count` rows of `head`; none where numbers are kept in another format.
    pub fn rows<T: CacheNumber>(&self, head: usize, count: usize) -> &[T] {
        let start = head * self.capacity * self.width;
        T::numbers(self).get(start..start + count * self.width).unwrap_or_default()
    }
}

impl LayerCache {
    /// The format of its numbers.
    pub fn format(&self) -> CacheFormat {
        match self.first.numbers {
            Numbers::Float32(_) => CacheFormat::Float32,
            Numbers::Bfloat16(_) => CacheFormat::Bfloat16,
        }
    }
}

/// A type of number that a cache keeps.
pub(super) trait CacheNumber: Number {
    /// All numbers of a store of this type.
    fn numbers(store: &Store) -> &[Self];
}

impl CacheNumber for f32 {
    fn numbers(store: &Store) -> &[f32] {
        if let Numbers::Float32(numbers) = &store.numbers { numbers } else { &[] }
    }
}

impl CacheNumber for Bf16 {
    fn numbers(store: &Store) -> &[Bf16] {
        if let Numbers::Bfloat16(numbers) = &store.numbers { numbers } else { &[] }
    }
}

/// The error of `bytes` for a cache that cannot be had.
fn no_memory(bytes: usize) -> Error {
    Error::ours(format!("no memory for a cache: {bytes} bytes")).hint("take a shorter context or a smaller model")
}
