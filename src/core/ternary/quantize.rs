//! Activations become 8-bit codes, a row at a time, by the instructions of a kernel. Codes and scales are those of
//! [`super::activations::int8_absmax`], of which this is the fast form.

use super::activations::int8_absmax;
use super::int8_rows::{Int8Rows, Line, TILE};
use super::kernels::Kernel;
use super::threads::Threads;
use crate::{Context, Error, Result};

/// Where the lines of up to 16 tokens, each of their rows in turn, their scales and sums go.
type Tile<'a> = ((&'a mut [Line], &'a mut [f32]), (&'a mut [f32], &'a mut [i32]));

impl Int8Rows {
    /// Puts `activations` `[tokens, columns]` in place of what was there. Once the buffers are large enough, nothing is allocated.
    ///
    /// # Errors
    /// No column, activations that are no whole rows, or one that is not finite; then there is no token.
    pub fn quantize(&mut self, activations: &[f32], columns: usize) -> Result<()> {
        self.quantize_with(Kernel::best()?, activations, columns, None)
    }

    /// As [`Int8Rows::quantize`], with a kernel that may be another than the best, the rows shared among threads.
    ///
    /// # Errors
    /// As [`Int8Rows::quantize`], but for the variable.
    pub fn quantize_with(&mut self, kernel: Kernel, activations: &[f32], columns: usize, threads: Option<&Threads>) -> Result<()> {
        if columns == 0 || !activations.len().is_multiple_of(columns) {
            self.set_tokens(0);
            return Err(Error::input(format!("{} activations are no whole rows of {columns}", activations.len())));
        }
        self.quantize_rows(kernel, activations.len() / columns, columns, threads, |token, row| {
            row.copy_from_slice(&activations[token * columns..][..columns]);
        })
    }

    /// Puts `tokens` rows of `columns` activations in place of what was there, each as `make` writes it: it is quantized while it is in
    /// the processor's cache, and kept nowhere else. `make` may be called twice for a token.
    ///
    /// # Errors
    /// No column, or an activation that is not finite; then there is no token.
    pub fn quantize_rows(
        &mut self,
        kernel: Kernel,
        tokens: usize,
        columns: usize,
        threads: Option<&Threads>,
        make: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Result<()> {
        self.set_tokens(0);
        if columns == 0 {
            return Err(Error::input("rows without a column"));
        }
        self.resize(tokens, columns);
        let (step, tile_lines) = (self.step(), TILE * self.width());
        let (lines, made) = (self.lines.chunks_mut(tile_lines), self.made.chunks_mut(columns));
        let items = lines.zip(made).zip(self.scales.chunks_mut(TILE).zip(self.sums.chunks_mut(TILE))).enumerate();
        let quantize = |(tile, ((lines, row), (scales, sums))): (usize, Tile)| {
            for (token, (scale, sum)) in scales.iter_mut().zip(sums).enumerate() {
                make(tile * TILE + token, row);
                let first = if step == 1 { token * tile_lines / TILE } else { token };
                (*scale, *sum) = kernel.quantize_row(row, &mut lines[first..], step);
            }
        };
        match threads {
            Some(threads) if tokens > TILE => threads.for_each(items, quantize),
            _ => items.for_each(quantize),
        }
        self.require_finite(columns, make)
    }

    /// A row with a number that is not finite has a scale that says so.
    fn require_finite(&mut self, columns: usize, make: impl Fn(usize, &mut [f32])) -> Result<()> {
        let Some(token) = self.scales.iter().position(|scale| scale.is_nan()) else { return Ok(()) };
        self.set_tokens(0);
        make(token, &mut self.made[..columns]);
        int8_absmax(&self.made[..columns]).map(drop).context(|| format!("token {token}"))
    }
}
