//! Rows of 8-bit codes times rows of activations, in integers: reading a code costs less than turning it into a float32. Activations are
//! rounded to as many of 16 bits as their products have room for in 32, which is far less than the rounding of the codes.

use super::level::{Level, Work};
use super::rows::{ROWS, places};
use super::simd::{CODES, Simd};

/// Bytes between what is multiplied and what is asked for ahead: hardware alone stops at the end of a page.
const AHEAD: usize = 2048;

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
            // A row so small that this overflows counts as zeros.
            let factor = Some(1.0 / scale).filter(|factor| factor.is_finite()).unwrap_or(0.0);
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
    // -128 is no code that we write; a row of it fits all the same.
    (i32::MAX / (128 * products)).min(i32::from(i16::MAX)) as f32
}

/// `out[j, i] = scales[j] · Σ_k codes[j, k] · activations[i, k]`: `out` is `[rows, tokens]`, `codes` `[rows, columns]`. Products are
/// exact but for the rounding of the activations, and so are sixteen sums of them, which are added up in float32. Lengths that do not fit compute less.
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
        for first_row in 0..num_rows.div_ceil(ROWS) {
            let places = places(first_row, num_rows);
            let rows = places.map(|row| &codes[row * columns..][..columns]);
            let mut products = Group { rows, places, scales, activations, out: &mut *out };
            let mut token = 0;
            while token < tokens {
                token += match tokens - token {
                    4.. => products.put::<S, 4>(simd, token),
                    2.. => products.put::<S, 2>(simd, token),
                    _ => products.put::<S, 1>(simd, token),
                };
            }
        }
    }
}

/// Four rows of codes, their places in the matrix, and all that they are multiplied with.
struct Group<'a> {
    rows: [&'a [i8]; ROWS],
    places: [usize; ROWS],
    scales: &'a [f32],
    activations: &'a Int16Rows,
    out: &'a mut [f32],
}

impl Group<'_> {
    /// Writes the products with some tokens from `first` on; gives how many tokens.
    #[inline(always)]
    fn put<S: Simd, const TOKENS: usize>(&mut self, simd: S, first: usize) -> usize {
        let num_tokens = self.activations.tokens();
        let sums = sums(simd, self.rows, std::array::from_fn::<_, TOKENS, _>(|token| self.activations.row(first + token)));
        for (token, sums) in (first..).zip(sums) {
            for (sum, place) in sums.into_iter().zip(self.places) {
                self.out[place * num_tokens + token] = sum * self.scales[place] * self.activations.scales[token];
            }
        }
        TOKENS
    }
}

/// The products of four rows of codes with those of some tokens.
#[inline(always)]
fn sums<S: Simd, const TOKENS: usize>(simd: S, rows: [&[i8]; ROWS], tokens: [&[[i16; CODES]]; TOKENS]) -> [[f32; ROWS]; TOKENS] {
    let mut sums = [[simd.no_sums(); ROWS]; TOKENS];
    let (whole, rest) = (rows[0].len() / CODES, rows[0].len() % CODES);
    // Known to be as long as rows, so that no place in them is checked.
    let (chunks, tokens) = (rows.map(|row| &row.as_chunks::<CODES>().0[..whole]), tokens.map(|token| &token[..whole + rest.min(1)]));
    for at in 0..whole {
        for (row, chunks) in chunks.iter().enumerate() {
            simd.prefetch(chunks[at].as_ptr().wrapping_add(AHEAD));
            let codes = simd.load_codes(&chunks[at]);
            for (sums, token) in sums.iter_mut().zip(tokens) {
                sums[row] = simd.add_products_of_codes(codes, &token[at], sums[row]);
            }
        }
    }
    if rest > 0 {
        for (row, codes) in rows.iter().enumerate() {
            let mut filled = [0; CODES];
            filled[..rest].copy_from_slice(&codes[whole * CODES..]);
            let codes = simd.load_codes(&filled);
            for (sums, token) in sums.iter_mut().zip(tokens) {
                sums[row] = simd.add_products_of_codes(codes, &token[whole], sums[row]);
            }
        }
    }
    let mut totals = [[0.0; ROWS]; TOKENS];
    for (totals, [a, b, c, d]) in totals.iter_mut().zip(sums) {
        *totals = simd.totals([simd.sums_to_floats(a), simd.sums_to_floats(b), simd.sums_to_floats(c), simd.sums_to_floats(d)]);
    }
    totals
}
