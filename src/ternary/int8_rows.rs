//! The activations of some tokens as 8-bit codes, in buffers that are used again. Codes and scales are those of
//! [`super::activations::int8_absmax`], of which this is the fast form.

use super::activations::int8_absmax;
use super::bytes::ALIGNMENT;
use super::kernels::Kernel;
use super::threads::Threads;
use crate::{Context, Error, Result};

/// Rows that a thread quantizes at a time.
const ROWS_AT_A_TIME: usize = 8;

/// Codes of tokens, `[tokens, columns]`, with a scale and the sum of the codes for each.
#[derive(Debug, Clone, Default)]
pub struct Int8Rows {
    /// Rows of `stride` codes, zeros behind the columns. Begins in `buffer` where `start` says, at a multiple of 64.
    buffer: Vec<i8>,
    start: usize,
    stride: usize,
    columns: usize,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

impl Int8Rows {
    /// No token yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `activations` `[tokens, columns]` in place of what was there. A token or the hundredth allocates nothing, once the buffers
    /// are large enough.
    ///
    /// # Errors
    /// No column, activations that are no whole rows, or one that is not finite; then there is no token.
    pub fn quantize(&mut self, activations: &[f32], columns: usize) -> Result<()> {
        self.quantize_with(Kernel::best()?, activations, columns, None)
    }

    /// As [`Int8Rows::quantize`], the rows shared among threads.
    ///
    /// # Errors
    /// As [`Int8Rows::quantize`].
    pub fn quantize_on(&mut self, activations: &[f32], columns: usize, threads: &Threads) -> Result<()> {
        self.quantize_with(Kernel::best()?, activations, columns, Some(threads))
    }

    /// As [`Int8Rows::quantize`], with a kernel that the processor has to be able to run.
    ///
    /// # Errors
    /// As [`Int8Rows::quantize`].
    pub fn quantize_with(&mut self, kernel: Kernel, activations: &[f32], columns: usize, threads: Option<&Threads>) -> Result<()> {
        self.resize(activations.len(), columns)?;
        let start = self.start;
        let Self { buffer, stride, scales, sums, .. } = self;
        let codes = buffer[start..].chunks_mut(ROWS_AT_A_TIME * *stride);
        let rows = activations.chunks(ROWS_AT_A_TIME * columns);
        let items = rows.zip(codes).zip(scales.chunks_mut(ROWS_AT_A_TIME).zip(sums.chunks_mut(ROWS_AT_A_TIME)));
        let quantize = |((rows, codes), (scales, sums)): ((&[f32], &mut [i8]), (&mut [f32], &mut [i32]))| {
            for (index, row) in rows.chunks_exact(columns).enumerate() {
                let codes = &mut codes[index * *stride..][..*stride];
                codes[columns..].fill(0);
                (scales[index], sums[index]) = kernel.quantize_row(row, &mut codes[..columns]);
            }
        };
        match threads {
            Some(threads) if activations.len() > ROWS_AT_A_TIME * columns => threads.for_each(items, quantize),
            _ => items.for_each(quantize),
        }
        self.require_finite(activations, columns)
    }

    /// Puts codes `[tokens, columns]` that are quantized already, with a scale for each token, in place of what was there.
    ///
    /// # Errors
    /// No column, or other numbers of codes and scales.
    pub fn set_codes(&mut self, codes: &[i8], columns: usize, scales: &[f32]) -> Result<()> {
        self.resize(codes.len(), columns)?;
        if self.tokens() != scales.len() {
            return Err(Error::input(format!("{} tokens have {} scales", self.tokens(), scales.len())));
        }
        self.scales.copy_from_slice(scales);
        for (token, codes) in codes.chunks_exact(columns).enumerate() {
            let row = &mut self.buffer[self.start + token * self.stride..][..self.stride];
            row[..columns].copy_from_slice(codes);
            row[columns..].fill(0);
            self.sums[token] = codes.iter().copied().map(i32::from).sum();
        }
        Ok(())
    }

    /// Tokens.
    pub fn tokens(&self) -> usize {
        self.scales.len()
    }

    /// Codes of a token.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The codes of a token, without padding.
    pub fn codes(&self, token: usize) -> &[i8] {
        &self.buffer[self.start + token * self.stride..][..self.columns]
    }

    /// Codes of each token per unit of the input.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The sum of each token's codes.
    pub(super) fn sums(&self) -> &[i32] {
        &self.sums
    }

    /// Codes between the starts of two tokens.
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// The rows of all tokens, [`Int8Rows::stride`] codes each, the first at a multiple of 64.
    pub(super) fn padded(&self) -> &[i8] {
        &self.buffer[self.start..][..self.tokens() * self.stride]
    }

    fn resize(&mut self, length: usize, columns: usize) -> Result<()> {
        (self.columns, self.stride) = (columns, stride(columns));
        self.set_tokens(0);
        if columns == 0 || !length.is_multiple_of(columns) {
            return Err(Error::input(format!("{length} activations are no whole rows of {columns}")));
        }
        let tokens = length / columns;
        let needed = tokens * self.stride + ALIGNMENT - 1;
        if self.buffer.len() < needed {
            self.buffer = vec![0; needed];
            self.start = self.buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT - 1);
        }
        self.set_tokens(tokens);
        Ok(())
    }

    fn set_tokens(&mut self, tokens: usize) {
        self.scales.resize(tokens, 0.0);
        self.sums.resize(tokens, 0);
    }

    /// A row with a number that is not finite has a scale that says so.
    fn require_finite(&mut self, activations: &[f32], columns: usize) -> Result<()> {
        let Some(token) = self.scales.iter().position(|scale| scale.is_nan()) else { return Ok(()) };
        self.set_tokens(0);
        int8_absmax(&activations[token * columns..][..columns]).map(drop).context(|| format!("token {token}"))
    }
}

/// An odd number of cache lines: then the same columns of 16 tokens lie in 16 sets of the cache.
fn stride(columns: usize) -> usize {
    (columns.div_ceil(ALIGNMENT) | 1) * ALIGNMENT
}
