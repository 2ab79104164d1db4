//! The activations of some tokens as 8-bit codes, in buffers that are used again. Codes and scales are those of
//! [`super::activations::int8_absmax`], of which this is the fast form.
//!
//! Codes lie in lines of 64, zeros behind the last. The lines of a token lie one after another where there are few tokens; those of
//! [`MANY`] and more in tiles: line `i` of 16 tokens, then line `i + 1` of the same.

use super::activations::int8_absmax;
use super::kernels::Kernel;
use super::threads::Threads;
use crate::{Context, Error, Result};

/// Tokens of a tile.
pub(super) const TILE: usize = 16;
/// From as many tokens on there are tiles.
pub(super) const MANY: usize = 8;
/// There is room for a multiple of as many tokens in tiles: kernels need not stop short.
const WHOLE: usize = 2 * TILE;

/// 64 codes of a token, in a cache line of their own.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [i8; Line::LENGTH]);

impl Line {
    pub(super) const LENGTH: usize = 64;
    pub(super) const ZEROS: Self = Self([0; Self::LENGTH]);

    /// Four codes as the bytes of a number, `index` from 0 to 15.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn four(&self, index: usize) -> i32 {
        i32::from_ne_bytes(self.0.as_chunks::<4>().0[index].map(i8::cast_unsigned))
    }
}

/// Where the lines of up to 16 tokens, each of their rows in turn, their scales and sums go.
type Tile<'a> = ((&'a mut [Line], &'a mut [f32]), (&'a mut [f32], &'a mut [i32]));

/// Codes of tokens, `[tokens, columns]`, with a scale and the sum of the codes for each.
#[derive(Debug, Clone, Default)]
pub struct Int8Rows {
    /// At least those of the tokens.
    lines: Vec<Line>,
    columns: usize,
    scales: Vec<f32>,
    sums: Vec<i32>,
    /// The row of each tile that is being quantized.
    made: Vec<f32>,
}

impl Int8Rows {
    /// No token yet.
    pub fn new() -> Self {
        Self::default()
    }

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

    /// Puts codes `[tokens, columns]` that are quantized already, with a scale for each token, in place of what was there.
    ///
    /// # Errors
    /// No column, or other numbers of codes and scales.
    pub fn set_codes(&mut self, codes: &[i8], columns: usize, scales: &[f32]) -> Result<()> {
        if columns == 0 || codes.len() != scales.len() * columns {
            return Err(Error::input(format!("{} codes are not {} rows of {columns}", codes.len(), scales.len())));
        }
        self.resize(scales.len(), columns);
        self.scales.copy_from_slice(scales);
        for (token, codes) in codes.chunks_exact(columns).enumerate() {
            let (first, step) = (self.first_line(token), self.step());
            for (line, codes) in self.lines[first..].iter_mut().step_by(step).zip(codes.chunks(Line::LENGTH)) {
                *line = Line::ZEROS;
                line.0[..codes.len()].copy_from_slice(codes);
            }
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

    /// The codes of a token.
    pub fn codes(&self, token: usize) -> Vec<i8> {
        self.token(token).flat_map(|line| line.0).take(self.columns).collect()
    }

    /// Codes of each token per unit of the input.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The sum of each token's codes.
    pub(super) fn sums(&self) -> &[i32] {
        &self.sums
    }

    /// The lines of a token.
    pub(super) fn token(&self, token: usize) -> impl Iterator<Item = &Line> {
        self.lines[self.first_line(token)..].iter().step_by(self.step()).take(self.width())
    }

    /// Line `index` of each of some tokens from `first` on.
    #[inline]
    pub(super) fn lines_at<const TOKENS: usize>(&self, first: usize, index: usize) -> [&Line; TOKENS] {
        std::array::from_fn(|token| &self.lines[self.first_line(first + token) + index * self.step()])
    }

    /// The lines of all tokens, those in tiles up to a multiple of 32; tokens that do not exist have any codes.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Where the first line of a token lies.
    pub(super) fn first_line(&self, token: usize) -> usize {
        if self.are_many() { token / TILE * TILE * self.width() + token % TILE } else { token * self.width() }
    }

    /// How far a token's next line is from one.
    pub(super) fn step(&self) -> usize {
        if self.are_many() { TILE } else { 1 }
    }

    /// Lines of a token.
    pub(super) fn width(&self) -> usize {
        self.columns.div_ceil(Line::LENGTH)
    }

    fn are_many(&self) -> bool {
        self.tokens() >= MANY
    }

    fn resize(&mut self, tokens: usize, columns: usize) {
        self.columns = columns;
        self.set_tokens(tokens);
        let num_lines = tokens.next_multiple_of(if self.are_many() { WHOLE } else { 1 }) * self.width();
        if self.lines.len() < num_lines {
            self.lines.resize(num_lines, Line::ZEROS);
        }
        self.made.resize(tokens.div_ceil(TILE) * columns, 0.0);
    }

    fn set_tokens(&mut self, tokens: usize) {
        self.scales.resize(tokens, 0.0);
        self.sums.resize(tokens, 0);
    }

    /// A row with a number that is not finite has a scale that says so.
    fn require_finite(&mut self, columns: usize, make: impl Fn(usize, &mut [f32])) -> Result<()> {
        let Some(token) = self.scales.iter().position(|scale| scale.is_nan()) else { return Ok(()) };
        self.set_tokens(0);
        make(token, &mut self.made[..columns]);
        int8_absmax(&self.made[..columns]).map(drop).context(|| format!("token {token}"))
    }
}
