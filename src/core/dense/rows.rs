//! Rows of a matrix times rows of activations: what a head computes, and how queries meet keys.

use super::level::Work;
use super::simd::{LANES, Lane, Simd};

/// Matrix rows that are read side by side.
pub(super) const ROWS: usize = 4;
/// Bytes between what is multiplied and what is asked for ahead: hardware alone stops at the end of a page.
const AHEAD: usize = 4096;
/// Bytes that memory delivers at once.
const LINE: usize = 64;

/// What [`super::products`] is asked for.
pub struct Products<'a, T> {
    pub(super) matrix: &'a [T],
    pub(super) activations: &'a [f32],
    pub(super) columns: usize,
    pub(super) out: &'a mut [f32],
}

impl<T: Lane> Work for Products<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { matrix, activations, columns, out } = self;
        let tokens = activations.len() / columns.max(1);
        if tokens == 0 {
            return;
        }
        let token = |index: usize| &activations[index * columns..][..columns];
        let num_rows = (matrix.len() / columns).min(out.len() / tokens);
        for first_row in 0..num_rows.div_ceil(ROWS) {
            let places = places(first_row, num_rows);
            let rows = places.map(|row| &matrix[row * columns..][..columns]);
            let mut first = 0;
            while first < tokens {
                first += match tokens - first {
                    4.. => put(places, out, tokens, first, dots(simd, rows, four(|index| token(first + index)))),
                    2.. => put(places, out, tokens, first, dots(simd, rows, [token(first), token(first + 1)])),
                    _ => put(places, out, tokens, first, dots(simd, rows, [token(first)])),
                };
            }
        }
    }
}

/// Four of `num_rows` rows, far apart, each followed by the next call's: memory is faster with four streams than with one. Where the
/// number is no multiple of four, the last row comes more than once.
#[inline(always)]
pub(super) fn places(first_row: usize, num_rows: usize) -> [usize; ROWS] {
    four(|index| (first_row + index * num_rows.div_ceil(ROWS)).min(num_rows - 1))
}

/// Puts the products of the rows at `places` with some tokens from `first` on into `out`, `[rows, tokens]`; gives how many tokens.
#[inline(always)]
fn put<const TOKENS: usize>(places: [usize; ROWS], out: &mut [f32], tokens: usize, first: usize, sums: [[f32; ROWS]; TOKENS]) -> usize {
    for (token, sums) in (first..).zip(sums) {
        for (place, sum) in places.into_iter().zip(sums) {
            out[place * tokens + token] = sum;
        }
    }
    TOKENS
}

/// The products of four rows with some others, all equally long.
#[inline(always)]
pub(super) fn dots<S: Simd, T: Lane, const OTHERS: usize>(simd: S, rows: [&[T]; ROWS], others: [&[f32]; OTHERS]) -> [[f32; ROWS]; OTHERS] {
    let mut sums = [[simd.splat(0.0); ROWS]; OTHERS];
    let chunks = four(|row| rows[row].as_chunks::<LANES>().0);
    let count = chunks[0].len();
    for at in 0..count {
        let vectors = [ahead(simd, chunks[0], at), ahead(simd, chunks[1], at), ahead(simd, chunks[2], at), ahead(simd, chunks[3], at)];
        for (sums, other) in sums.iter_mut().zip(others) {
            add_products(simd, sums, vectors, simd.load(&other.as_chunks().0[at]));
        }
    }
    if count * LANES < rows[0].len() {
        let vectors = [rest(simd, rows[0]), rest(simd, rows[1]), rest(simd, rows[2]), rest(simd, rows[3])];
        for (sums, other) in sums.iter_mut().zip(others) {
            add_products(simd, sums, vectors, rest(simd, other));
        }
    }
    let mut totals = [[0.0; ROWS]; OTHERS];
    for (totals, sums) in totals.iter_mut().zip(sums) {
        *totals = simd.totals(sums);
    }
    totals
}

#[inline(always)]
fn add_products<S: Simd>(simd: S, sums: &mut [S::Vector; ROWS], rows: [S::Vector; ROWS], other: S::Vector) {
    for (sum, row) in sums.iter_mut().zip(rows) {
        *sum = simd.multiply_add(row, other, *sum);
    }
}

/// 16 numbers of a row, and memory a page further asked for.
#[inline(always)]
fn ahead<S: Simd, T: Lane>(simd: S, chunks: &[[T; LANES]], at: usize) -> S::Vector {
    if at.is_multiple_of(LINE / size_of::<[T; LANES]>()) {
        simd.prefetch(chunks[at].as_ptr().cast::<u8>().wrapping_add(AHEAD));
    }
    T::load(simd, &chunks[at])
}

/// What the last vector of a row leaves over, and zeros.
#[inline(always)]
pub(super) fn rest<S: Simd, T: Lane>(simd: S, row: &[T]) -> S::Vector {
    let mut numbers = [T::default(); LANES];
    numbers.iter_mut().zip(row.as_chunks::<LANES>().1).for_each(|(number, stored)| *number = *stored);
    T::load(simd, &numbers)
}

#[inline(always)]
pub(super) fn four<T>(each: impl Fn(usize) -> T) -> [T; ROWS] {
    [each(0), each(1), each(2), each(3)]
}
