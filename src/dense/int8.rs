//! Rows of 8-bit codes times rows of activations, in integers: reading a code costs less than turning it into a float32. Activations are
//! rounded to as many of 16 bits as their products have room for in 32, which is far less than the rounding of the codes.

use super::level::{Level, Work};
use super::rows::{ROWS, four};
use super::simd::Simd;

/// Codes of a vector.
pub(super) const CODES: usize = 32;
/// Bytes between what is multiplied and what is asked for ahead: hardware alone stops at the end of a page.
const AHEAD: usize = 4096;

/// Some activations as whole numbers, `[tokens, columns]`, each row with zeros up to a whole number of vectors. Its memory is used again.
#[derive(Debug, Default)]
pub struct Int16Rows {
    numbers: Vec<[i16; CODES]>,
    scales: Vec<f32>, // what a row's numbers are multiples of
    columns: usize,
}

impl Int16Rows {
    /// Puts `activations`, whole rows of `columns`, in place of what was there. A row with a number that is not finite has the scale NaN.
    pub fn set(&mut self, activations: &[f32], columns: usize) {
        self.columns = columns;
        self.numbers.clear();
        self.scales.clear();
        let largest_number = largest_number(columns);
        for row in activations.chunks_exact(columns.max(1)) {
            let largest = row.iter().fold(0f32, |largest, number| largest.max(number.abs()));
            let scale = largest / largest_number;
            let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            self.numbers.extend(row.chunks(CODES).map(|row| {
                let mut numbers = [0; CODES];
                numbers.iter_mut().zip(row).for_each(|(whole, number)| *whole = (number * factor).round_ties_even() as i16);
                numbers
            }));
            let is_finite = row.iter().fold(0.0, |sum, number| sum + number * 0.0) == 0.0;
            self.scales.push(if is_finite { scale } else { f32::NAN });
        }
    }

    /// Rows.
    pub fn tokens(&self) -> usize {
        self.scales.len()
    }

    /// Bytes that they take.
    pub fn num_bytes(&self) -> usize {
        size_of_val(&self.numbers[..]) + size_of_val(&self.scales[..])
    }

    fn row(&self, token: usize) -> &[[i16; CODES]] {
        let width = self.columns.div_ceil(CODES);
        &self.numbers[token * width..][..width]
    }
}

/// The largest number with which no lane of 32 bits can overflow: each adds up two products of every vector.
fn largest_number(columns: usize) -> f32 {
    let products = 2 * columns.div_ceil(CODES).max(1) as i32;
    // -128 never is a code; a row of it would still fit.
    (i32::MAX / (128 * products)).min(i32::from(i16::MAX)) as f32
}

/// `out[j, i] = scales[j] · Σ_k codes[j, k] · activations[i, k]`: `out` is `[rows, tokens]`, `codes` `[rows, columns]`. Sums are exact but
/// for the rounding of the activations. Lengths that do not fit compute less.
pub fn int8_products(level: Level, codes: &[i8], scales: &[f32], activations: &Int16Rows, out: &mut [f32]) {
    level.run(Products { codes, scales, activations, out });
}

struct Products<'a> {
    codes: &'a [i8],
    scales: &'a [f32],
    activations: &'a Int16Rows,
    out: &'a mut [f32],
}

impl Work for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { codes, scales, activations, out } = self;
        let (columns, tokens) = (activations.columns, activations.tokens());
        if tokens == 0 || columns == 0 {
            return;
        }
        let num_rows = (codes.len() / columns).min(out.len() / tokens).min(scales.len());
        for (group, out) in out[..num_rows * tokens].chunks_mut(ROWS * tokens).enumerate() {
            let row = |index: usize| group * ROWS + index.min(out.len() / tokens - 1);
            let rows = four(|index| &codes[row(index) * columns..][..columns]);
            let scales = four(|index| scales[row(index)]);
            let mut first = 0;
            while first < tokens {
                first += match tokens - first {
                    4.. => put::<S, 4>(simd, rows, scales, activations, first, out),
                    2.. => put::<S, 2>(simd, rows, scales, activations, first, out),
                    _ => put::<S, 1>(simd, rows, scales, activations, first, out),
                };
            }
        }
    }
}

/// Writes the products of four rows and some tokens from `first` on into `out`, `[rows, tokens]`; gives how many tokens.
#[inline(always)]
fn put<S: Simd, const TOKENS: usize>(
    simd: S,
    rows: [&[i8]; ROWS],
    scales: [f32; ROWS],
    activations: &Int16Rows,
    first: usize,
    out: &mut [f32],
) -> usize {
    let sums = sums(simd, rows, std::array::from_fn::<_, TOKENS, _>(|token| activations.row(first + token)));
    for (token, sums) in (first..).zip(sums) {
        let scaled = sums.iter().zip(scales).map(|(sum, scale)| sum * scale * activations.scales[token]);
        out[token..].iter_mut().step_by(activations.tokens()).zip(scaled).for_each(|(out, product)| *out = product);
    }
    TOKENS
}

/// The products of four rows of codes with those of some tokens.
#[inline(always)]
fn sums<S: Simd, const TOKENS: usize>(simd: S, rows: [&[i8]; ROWS], tokens: [&[[i16; CODES]]; TOKENS]) -> [[f32; ROWS]; TOKENS] {
    let mut sums = [[simd.no_sums(); ROWS]; TOKENS];
    let chunks = four(|row| rows[row].as_chunks::<CODES>());
    let whole = chunks[0].0.len();
    let tokens = tokens.map(|token| &token[..whole.max(token.len())]);
    for at in 0..whole {
        let codes = four(|row| {
            let chunk = &chunks[row].0[at];
            if at.is_multiple_of(2) {
                simd.prefetch(chunk.as_ptr().wrapping_add(AHEAD));
            }
            simd.load_codes(chunk)
        });
        for (sums, token) in sums.iter_mut().zip(tokens) {
            sums.iter_mut().zip(codes).for_each(|(sum, codes)| *sum = simd.add_products_of_codes(codes, &token[at], *sum));
        }
    }
    if !chunks[0].1.is_empty() {
        let codes = four(|row| simd.load_codes(&filled(chunks[row].1)));
        for (sums, token) in sums.iter_mut().zip(tokens) {
            sums.iter_mut().zip(codes).for_each(|(sum, codes)| *sum = simd.add_products_of_codes(codes, &token[whole], *sum));
        }
    }
    sums.map(|sums| simd.totals(sums.map(|sums| simd.sums_to_floats(sums))))
}

/// What the last vector of a row leaves over, and zeros.
#[inline(always)]
fn filled(rest: &[i8]) -> [i8; CODES] {
    let mut codes = [0; CODES];
    codes[..rest.len()].copy_from_slice(rest);
    codes
}
