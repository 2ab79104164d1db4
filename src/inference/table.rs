//! The table of a row a token: the embedding, and the head that gives every token its logit. It is most of a small model's bytes, so its
//! numbers may be narrower than float32.

use super::number::{Bf16, Number, dot};
use super::parallel::for_each_piece;
use super::tensors::StoredTensor;
use crate::Result;
use crate::ternary::threads::Threads;

/// Rows that a thread takes at a time.
const ROWS: usize = 64;
/// The largest code of 8 bits.
const LARGEST_CODE: f32 = 127.0;

/// How the numbers of embedding and head are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum HeadFormat {
    /// bfloat16 where the file has bfloat16, else float32.
    #[default]
    AsStored,
    /// Four bytes a number.
    Float32,
    /// Two bytes a number.
    Bfloat16,
    /// One byte a number, and a scale a row: `scale = max|w| / 127`.
    Int8,
}

/// `[rows, columns]`.
#[derive(Debug)]
pub(super) struct Table {
    columns: usize,
    numbers: Numbers,
}

#[derive(Debug)]
enum Numbers {
    Float32(Vec<f32>),
    Bfloat16(Vec<Bf16>),
    Int8 { codes: Vec<i8>, scales: Vec<f32> },
}

impl Table {
    /// Reads `tensor`, whose shape has been checked.
    ///
    /// # Errors
    /// The user's: a number that is not finite.
    pub fn read(tensor: StoredTensor<'_>, format: HeadFormat) -> Result<Self> {
        let (rows, columns) = (tensor.shape[0], tensor.shape[1]);
        let mut row = vec![0.0; columns];
        let mut each_row = |keep: &mut dyn FnMut(&[f32])| -> Result<()> {
            (0..rows).try_for_each(|index| tensor.read_floats(index * columns, &mut row).map(|()| keep(&row)))
        };
        let is_bfloat16 = format == HeadFormat::Bfloat16 || format == HeadFormat::AsStored && tensor.is_bfloat16();
        let numbers = if is_bfloat16 {
            let mut numbers = Vec::with_capacity(rows * columns);
            each_row(&mut |row| numbers.extend(row.iter().map(|&number| Bf16::from_f32(number))))?;
            Numbers::Bfloat16(numbers)
        } else if format == HeadFormat::Int8 {
            let (mut codes, mut scales) = (Vec::with_capacity(rows * columns), Vec::with_capacity(rows));
            each_row(&mut |row| {
                let scale = row.iter().fold(0f32, |largest, number| largest.max(number.abs())) / LARGEST_CODE;
                codes.extend(row.iter().map(|number| if scale > 0.0 { i8::from_f32(number / scale) } else { 0 }));
                scales.push(scale);
            })?;
            Numbers::Int8 { codes, scales }
        } else {
            Numbers::Float32(tensor.floats()?)
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

    /// `logits[j] = Σ_k hidden[k] · table[j, k]` for every row.
    pub fn product(&self, hidden: &[f32], logits: &mut [f32], threads: &Threads) {
        match &self.numbers {
            Numbers::Float32(numbers) => product(numbers, None, hidden, logits, threads),
            Numbers::Bfloat16(numbers) => product(numbers, None, hidden, logits, threads),
            Numbers::Int8 { codes, scales } => product(codes, Some(scales), hidden, logits, threads),
        }
    }
}

fn product<T: Number>(numbers: &[T], scales: Option<&[f32]>, hidden: &[f32], logits: &mut [f32], threads: &Threads) {
    let columns = hidden.len();
    for_each_piece(threads, logits, ROWS, ROWS * columns, |piece, logits| {
        let first = piece * ROWS;
        for (index, (logit, row)) in logits.iter_mut().zip(numbers[first * columns..].chunks_exact(columns)).enumerate() {
            *logit = dot(row, hidden) * scales.map_or(1.0, |scales| scales[first + index]);
        }
    });
}
