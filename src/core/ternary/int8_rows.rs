//! The activations of some tokens as 8-bit codes, in buffers that are used again. How they become codes is in `quantize`.
//!
//! Codes lie in lines of 64, zeros behind the last. The lines of a token lie one after another where there are few tokens; those of
//! [`MANY`] and more in tiles: line `i` of 16 tokens, then line `i + 1` of the same.

use crate::{Error, Result};

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

/// Codes of tokens, `[tokens, columns]`, with a scale and the sum of the codes for each.
#[derive(Debug, Clone, Default)]
pub struct Int8Rows {
    /// At least those of the tokens.
    pub(super) lines: Vec<Line>,
    columns: usize,
    pub(super) scales: Vec<f32>,
    pub(super) sums: Vec<i32>,
    /// The row of each tile that is being quantized.
    pub(super) made: Vec<f32>,
}

impl Int8Rows {
    /// No token yet.
    pub fn new() -> Self {
        Self::default()
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

    pub(super) fn resize(&mut self, tokens: usize, columns: usize) {
        self.columns = columns;
        self.set_tokens(tokens);
        let num_lines = tokens.next_multiple_of(if self.are_many() { WHOLE } else { 1 }) * self.width();
        if self.lines.len() < num_lines {
            self.lines.resize(num_lines, Line::ZEROS);
        }
        self.made.resize(tokens.div_ceil(TILE) * columns, 0.0);
    }

    pub(super) fn set_tokens(&mut self, tokens: usize) {
        self.scales.resize(tokens, 0.0);
        self.sums.resize(tokens, 0);
    }
}
