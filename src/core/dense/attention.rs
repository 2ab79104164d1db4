//! Attention of several queries that share keys and values: the mean of values by the softmax of scores, in one pass over the positions, a
//! block at a time. The largest score so far scales what has been added up (Milakov and Gimelshein 2018); keys and values of a block are
//! read from the cache for all queries (FlashAttention, Dao et al. 2022). A query's result depends on its own positions alone, not on which
//! queries are beside it.

use super::level::Work;
use super::rows::{ROWS, dots, four, rest};
use super::simd::{LANES, Lane, Simd};

/// Positions whose scores are computed before their values are read.
const BLOCK: usize = 32;
/// Vectors of a value that are added up side by side.
const VECTORS: usize = 4;

/// What a text remembers of its positions, one row each, the same number of each: keys, in one part or in two, and values.
#[derive(Debug, Clone, Copy)]
pub struct Memory<'a, T> {
    /// `[positions, width]` of each part; an absent part is empty.
    pub keys: [&'a [T]; 2],
    /// `[positions, width]`.
    pub values: &'a [T],
}

/// Who asks, and where the answer goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<'a> {
    /// As wide as the parts of the keys.
    pub parts: [&'a [f32]; 2],
    /// The number of positions that it sees, the first ones.
    pub positions: usize,
    /// Where its result begins.
    pub out: usize,
}

/// The most queries of a call.
pub const MOST_QUERIES: usize = 64;

/// What [`super::attend`] is asked for.
pub struct Attend<'a, T> {
    pub(super) memory: Memory<'a, T>,
    pub(super) queries: &'a [Query<'a>],
    pub(super) scale: f32,
    pub(super) width: usize,
    pub(super) out: &'a mut [f32],
}

/// The softmax of a query so far.
#[derive(Clone, Copy)]
struct Softmax {
    largest: f32,
    total: f32,
}

/// Scores of a block's positions, then their weights.
type Scores = [f32; BLOCK];

impl<T: Lane> Work for Attend<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let queries = self.queries;
        let mut softmaxes = [Softmax { largest: f32::NEG_INFINITY, total: 0.0 }; MOST_QUERIES];
        let softmaxes = &mut softmaxes[..queries.len()];
        queries.iter().for_each(|query| self.out[query.out..][..self.width].fill(0.0));
        let longest = queries.iter().map(|query| query.positions).max().unwrap_or(0);
        for start in (0..longest).step_by(BLOCK) {
            let count = BLOCK.min(longest - start);
            let mut first = 0;
            while first < queries.len() {
                let (queries, softmaxes) = (&queries[first..], &mut softmaxes[first..]);
                first += match queries.len() {
                    4.. => self.add_block(simd, start, count, [queries[0], queries[1], queries[2], queries[3]], softmaxes),
                    3 => self.add_block(simd, start, count, [queries[0], queries[1], queries[2]], softmaxes),
                    2 => self.add_block(simd, start, count, [queries[0], queries[1]], softmaxes),
                    _ => self.add_block(simd, start, count, [queries[0]], softmaxes),
                };
            }
        }
        for (query, softmax) in queries.iter().zip(softmaxes) {
            let share = 1.0 / softmax.total;
            self.out[query.out..][..self.width].iter_mut().for_each(|number| *number *= share);
        }
    }
}

impl<T: Lane> Attend<'_, T> {
    /// Adds `count` positions from `start` on to some queries; gives how many queries.
    #[inline(always)]
    fn add_block<S: Simd, const QUERIES: usize>(
        &mut self,
        simd: S,
        start: usize,
        count: usize,
        queries: [Query<'_>; QUERIES],
        softmaxes: &mut [Softmax],
    ) -> usize {
        if queries.iter().all(|query| query.positions <= start) {
            return QUERIES;
        }
        let mut scores = self.scores(simd, start, count, &queries);
        let mut shrinks = [1.0; QUERIES];
        for (index, query) in queries.iter().enumerate() {
            let seen = query.positions.saturating_sub(start).min(BLOCK);
            shrinks[index] = softmaxes[index].add(simd, &mut scores[index], seen);
        }
        let outs = queries.map(|query| query.out);
        let values = &self.memory.values[start * self.width..(start + count) * self.width];
        let mut column = 0;
        while column < self.width {
            column += match self.width - column {
                64.. => self::add_values::<S, T, QUERIES, VECTORS>(simd, &scores, &shrinks, values, self.width, column, self.out, outs),
                LANES.. => self::add_values::<S, T, QUERIES, 1>(simd, &scores, &shrinks, values, self.width, column, self.out, outs),
                _ => self::add_rest(simd, &scores, &shrinks, values, self.width, column, self.out, outs),
            };
        }
        QUERIES
    }

    /// `scale · query · key` for some queries and `count` positions from `start` on.
    #[inline(always)]
    fn scores<S: Simd, const QUERIES: usize>(
        &self,
        simd: S,
        start: usize,
        count: usize,
        queries: &[Query<'_>; QUERIES],
    ) -> [Scores; QUERIES] {
        let mut scores = [[0.0; BLOCK]; QUERIES];
        let mut at = 0;
        while at < count {
            for part in 0..2 {
                let width = queries[0].parts[part].len();
                if width == 0 {
                    continue;
                }
                let keys = self.memory.keys[part];
                let rows = four(|row| &keys[(start + at + row.min(count - 1 - at)) * width..][..width]);
                let sums = dots(simd, rows, queries.map(|query| query.parts[part]));
                for (scores, sums) in scores.iter_mut().zip(sums) {
                    scores[at..].iter_mut().zip(sums).for_each(|(score, sum)| *score += self.scale * sum);
                }
            }
            at += ROWS;
        }
        scores
    }
}

impl Softmax {
    /// Takes in the scores of positions, of which the first `seen` count, and makes them weights; gives the factor for what has been added
    /// up before.
    #[inline(always)]
    fn add<S: Simd>(&mut self, simd: S, scores: &mut Scores, seen: usize) -> f32 {
        if seen == 0 {
            *scores = [0.0; BLOCK];
            return 1.0;
        }
        scores[seen..].fill(f32::NEG_INFINITY);
        let (chunks, _) = scores.as_chunks_mut::<LANES>();
        let mut largest = simd.splat(self.largest);
        for chunk in chunks.iter() {
            largest = simd.larger(largest, simd.load(chunk));
        }
        let largest = simd.numbers(largest).iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shrink = if largest > self.largest { (self.largest - largest).exp() } else { 1.0 };
        for chunk in chunks {
            let weights = simd.exponential(simd.add(simd.load(chunk), simd.splat(-largest)));
            simd.store(weights, chunk);
        }
        scores[seen..].fill(0.0);
        let mut sum = simd.splat(0.0);
        for chunk in scores.as_chunks::<LANES>().0 {
            sum = simd.add(sum, simd.load(chunk));
        }
        let sums = simd.totals([sum; 4]);
        *self = Self { largest, total: self.total * shrink + sums[0] };
        shrink
    }
}

/// `out = out · shrink + Σ weights[i] · values[i]` for `VECTORS` vectors from `column` on; gives how many columns.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn add_values<S: Simd, T: Lane, const QUERIES: usize, const VECTORS: usize>(
    simd: S,
    weights: &[Scores; QUERIES],
    shrinks: &[f32; QUERIES],
    values: &[T],
    width: usize,
    column: usize,
    out: &mut [f32],
    outs: [usize; QUERIES],
) -> usize {
    let mut sums = [[simd.splat(0.0); VECTORS]; QUERIES];
    for (index, sums) in sums.iter_mut().enumerate() {
        let (chunks, shrink) = (out[outs[index] + column..].as_chunks().0, simd.splat(shrinks[index]));
        for (sum, chunk) in sums.iter_mut().zip(chunks) {
            *sum = simd.multiply(simd.load(chunk), shrink);
        }
    }
    for (position, row) in values.chunks_exact(width).enumerate() {
        let chunks = &row[column..].as_chunks().0[..VECTORS];
        let mut vectors = [simd.splat(0.0); VECTORS];
        for (vector, chunk) in vectors.iter_mut().zip(chunks) {
            *vector = T::load(simd, chunk);
        }
        for (sums, weights) in sums.iter_mut().zip(weights) {
            let weight = simd.splat(weights[position]);
            for (sum, vector) in sums.iter_mut().zip(vectors) {
                *sum = simd.multiply_add(vector, weight, *sum);
            }
        }
    }
    for (index, sums) in sums.iter().enumerate() {
        let chunks = out[outs[index] + column..].as_chunks_mut().0;
        for (sum, chunk) in sums.iter().zip(chunks) {
            simd.store(*sum, chunk);
        }
    }
    VECTORS * LANES
}

/// [`add_values`] for the columns behind the last whole vector.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn add_rest<S: Simd, T: Lane, const QUERIES: usize>(
    simd: S,
    weights: &[Scores; QUERIES],
    shrinks: &[f32; QUERIES],
    values: &[T],
    width: usize,
    column: usize,
    out: &mut [f32],
    outs: [usize; QUERIES],
) -> usize {
    for ((weights, shrink), start) in weights.iter().zip(shrinks).zip(outs) {
        let out = &mut out[start + column..start + width];
        let mut sum = simd.multiply(rest(simd, out), simd.splat(*shrink));
        for (weight, row) in weights.iter().zip(values.chunks_exact(width)) {
            sum = simd.multiply_add(rest(simd, row), simd.splat(*weight), sum);
        }
        out.iter_mut().zip(simd.numbers(sum)).for_each(|(number, sum)| *number = sum);
    }
    width - column
}
