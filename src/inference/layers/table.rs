//! The table of a row a token: the embedding, and the head that gives every token its logit. It is most of a small model's bytes, so its
//! numbers may be narrower than float32.

use super::parallel::for_each_piece;
use crate::dense::{Bf16, Int16Rows, Level, Number, int8_products, products};
use crate::inference::stored::{Encoding, StoredTable, int8_row};
use crate::ternary::bytes::SharedBytes;
use crate::ternary::large_pages::zeros_on_large_pages;
use crate::ternary::threads::Threads;
use crate::{Error, Result};
use bytemuck::AnyBitPattern;
use safetensors::Dtype;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};

/// Rows that a thread takes at a time.
const ROWS: usize = 64;
/// Tokens whose logits are computed while the table is read once.
const TOGETHER: usize = 16;

/// How the numbers of embedding and head are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum HeadFormat {
    /// bfloat16 or 8 bits where the file has them, else float32.
    #[default]
    AsStored,
    /// Four bytes a number.
    Float32,
    /// Two bytes a number.
    Bfloat16,
    /// One byte a number, and a scale a row: `scale = max|w| / 127`.
    Int8,
}

/// What products with a table need while they are computed; its memory is used again and again.
#[derive(Debug, Default)]
pub(super) struct TableScratch {
    /// `[rows, tokens]`, before they are sorted by token.
    products: Vec<f32>,
    /// The tokens, for a table of codes.
    numbers: Int16Rows,
}

impl TableScratch {
    pub fn num_bytes(&self) -> usize {
        size_of_val(&self.products[..]) + self.numbers.num_bytes()
    }
}

/// Calls `keep` with each row of `stored`, its index in its piece, and the piece's place; pieces have [`ROWS`] rows and are shared among threads.
fn for_each_row<P: Send>(
    stored: &StoredTable<'_>,
    threads: &Threads,
    places: impl Iterator<Item = P> + Send,
    keep: impl Fn(&mut P, usize, &[f32]) + Sync,
) -> Result<()> {
    let (rows, columns) = (stored.tensor.shape[0], stored.tensor.shape[1]);
    let failure = Mutex::new(None::<(usize, Error)>);
    threads.for_each(places.enumerate(), |(piece, mut place)| {
        let mut row = vec![0.0; columns];
        let read = |index: usize| stored.read_floats((piece * ROWS + index) * columns, &mut row).map(|()| keep(&mut place, index, &row));
        if let Err(error) = (0..ROWS.min(rows - piece * ROWS)).try_for_each(read) {
            let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
            // The first in the file, whichever thread was faster.
            if failure.as_ref().is_none_or(|(earlier, _)| piece < *earlier) {
                *failure = Some((piece, error));
            }
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), |(_, error)| Err(error))
}

/// `[rows, columns]`.
#[derive(Debug)]
pub(super) struct Table {
    columns: usize,
    numbers: Numbers,
}

#[derive(Debug)]
enum Numbers {
    Float32(Kept<f32>),
    Bfloat16(Kept<Bf16>),
    Int8 { codes: Kept<i8>, scales: Vec<f32> },
}

/// Numbers in memory, or where they lie in a mapped file.
#[derive(Debug)]
enum Kept<T> {
    Read(Vec<T>),
    Mapped(SharedBytes, PhantomData<T>),
}

impl Numbers {
    /// The numbers of `stored` where they lie, if they are to stay there and are of the wanted `format`.
    fn mapped(stored: &StoredTable<'_>, format: HeadFormat) -> Result<Option<Self>> {
        let tensor = &stored.tensor;
        if !stored.stays_in_file {
            return Ok(None);
        }
        Ok(match (tensor.encoding, format, &stored.scales) {
            (Encoding::Plain(Dtype::F32), HeadFormat::AsStored | HeadFormat::Float32, _) => {
                Kept::mapped(tensor.mapped_bytes()?).map(Self::Float32)
            }
            (Encoding::Plain(Dtype::BF16), HeadFormat::AsStored | HeadFormat::Bfloat16, _) => {
                Kept::mapped(tensor.mapped_bytes()?).map(Self::Bfloat16)
            }
            (Encoding::Plain(Dtype::I8), HeadFormat::AsStored | HeadFormat::Int8, Some(scales)) => {
                Kept::mapped(tensor.mapped_bytes()?).map(|codes| Self::Int8 { codes, scales: scales.clone() })
            }
            _ => None,
        })
    }
}

impl<T: AnyBitPattern> Kept<T> {
    /// The numbers that `bytes` are; none where they do not lie as this processor needs them.
    fn mapped(bytes: SharedBytes) -> Option<Self> {
        let is_readable = cfg!(target_endian = "little") && bytemuck::try_cast_slice::<u8, T>(&bytes).is_ok();
        is_readable.then_some(Self::Mapped(bytes, PhantomData))
    }
}

impl<T: AnyBitPattern> Deref for Kept<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Read(numbers) => numbers,
            Self::Mapped(bytes, _) => bytemuck::try_cast_slice(bytes).unwrap_or_default(),
        }
    }
}

impl Table {
    /// Reads `stored`, whose shape has been checked, or leaves its numbers in their file.
    ///
    /// # Errors
    /// The user's: a number that is not finite, if it is read.
    pub fn read(stored: &StoredTable<'_>, format: HeadFormat, threads: &Threads) -> Result<Self> {
        let tensor = &stored.tensor;
        let (rows, columns) = (tensor.shape[0], tensor.shape[1]);
        if let Some(numbers) = Numbers::mapped(stored, format)? {
            return Ok(Self { columns, numbers });
        }
        let piece = ROWS * columns;
        let format = match format {
            HeadFormat::AsStored if tensor.is_bfloat16() => HeadFormat::Bfloat16,
            other => other,
        };
        let numbers = match format {
            HeadFormat::Bfloat16 => {
                let mut numbers = zeros_on_large_pages(rows * columns);
                for_each_row(stored, threads, numbers.chunks_mut(piece), |numbers, index, row| {
                    let place = numbers[index * columns..].iter_mut();
                    place.zip(row).for_each(|(kept, number)| *kept = Bf16::from_f32(*number));
                })?;
                Numbers::Bfloat16(Kept::Read(numbers))
            }
            HeadFormat::Int8 => {
                let (mut codes, mut scales) = (zeros_on_large_pages(rows * columns), vec![0.0; rows]);
                for_each_row(stored, threads, codes.chunks_mut(piece).zip(scales.chunks_mut(ROWS)), |(codes, scales), index, row| {
                    scales[index] = int8_row(row, &mut codes[index * columns..]);
                })?;
                Numbers::Int8 { codes: Kept::Read(codes), scales }
            }
            HeadFormat::Float32 | HeadFormat::AsStored => {
                let mut numbers = zeros_on_large_pages(rows * columns);
                for_each_row(stored, threads, numbers.chunks_mut(piece), |numbers, index, row| {
                    numbers[index * columns..][..columns].copy_from_slice(row);
                })?;
                Numbers::Float32(Kept::Read(numbers))
            }
        };
        Ok(Self { columns, numbers })
    }

    /// The row of `token`.
    pub fn read_row(&self, token: usize, row: &mut [f32]) {
        let place = token * self.columns..(token + 1) * self.columns;
        match &self.numbers {
            Numbers::Float32(numbers) => row.copy_from_slice(&numbers[place]),
            Numbers::Bfloat16(numbers) => row.iter_mut().zip(&numbers[place]).for_each(|(number, stored)| *number = stored.to_f32()),
            Numbers::Int8 { codes, scales } => {
                row.iter_mut().zip(&codes[place]).for_each(|(number, code)| *number = code.to_f32() * scales[token]);
            }
        }
    }

    /// `logits[i, j] = Σ_k hidden[i, k] · table[j, k]`: `hidden` is `[tokens, columns]`, `logits` `[tokens, rows]`.
    pub fn products(&self, hidden: &[f32], logits: &mut [f32], scratch: &mut TableScratch, threads: &Threads) {
        let rows = self.num_rows();
        let TableScratch { products, numbers } = scratch;
        for (hidden, logits) in hidden.chunks(TOGETHER * self.columns).zip(logits.chunks_mut(TOGETHER * rows)) {
            let tokens = hidden.len() / self.columns;
            if let Numbers::Int8 { .. } = self.numbers {
                numbers.set(hidden, self.columns);
            }
            if tokens == 1 {
                self.rows_of_products(hidden, numbers, logits, threads);
                continue;
            }
            products.resize(tokens * rows, 0.0);
            self.rows_of_products(hidden, numbers, products, threads);
            for_each_piece(threads, logits, rows, rows, |token, logits| {
                logits.iter_mut().zip(products[token..].iter().step_by(tokens)).for_each(|(logit, product)| *logit = *product);
            });
        }
    }

    /// `out[j, i]`, `[rows, tokens]`, so that each thread writes rows of its own. `numbers` are those of `hidden`, for 8-bit codes.
    fn rows_of_products(&self, hidden: &[f32], numbers: &Int16Rows, out: &mut [f32], threads: &Threads) {
        let (columns, tokens) = (self.columns, hidden.len() / self.columns);
        for_each_piece(threads, out, ROWS * tokens, ROWS * hidden.len(), |piece, out| {
            let first = piece * ROWS;
            let place = first * columns..(first + out.len() / tokens) * columns;
            match &self.numbers {
                Numbers::Float32(table) => products(Level::best(), &table[place], hidden, columns, out),
                Numbers::Bfloat16(table) => products(Level::best(), &table[place], hidden, columns, out),
                Numbers::Int8 { codes, scales } => int8_products(Level::best(), &codes[place], &scales[first..], numbers, out),
            }
        });
    }

    fn num_rows(&self) -> usize {
        let numbers = match &self.numbers {
            Numbers::Float32(numbers) => numbers.len(),
            Numbers::Bfloat16(numbers) => numbers.len(),
            Numbers::Int8 { codes, .. } => codes.len(),
        };
        numbers / self.columns
    }

    /// Bytes of its numbers.
    pub fn num_bytes(&self) -> usize {
        match &self.numbers {
            Numbers::Float32(numbers) => size_of_val(&numbers[..]),
            Numbers::Bfloat16(numbers) => size_of_val(&numbers[..]),
            Numbers::Int8 { codes, scales } => codes.len() + size_of_val(&scales[..]),
        }
    }
}
