//! How attention is shared among threads: each takes some heads of some consecutive tokens of one text at a time. What a query's result is
//! does not depend on the pieces.

use crate::dense::{Level, MOST_QUERIES, Memory, Number, Query, attend};
use crate::inference::layers::parallel::is_worth_threads;
use crate::inference::layers::workspace::Row;
use crate::ternary::threads::Threads;
use std::array::from_fn;
use std::mem::take;
use std::ops::Range;

/// The most tokens of a piece: they share what is read of the cache.
const MOST_TOKENS: usize = 16;
/// Heads of a piece of one token.
const HEADS: usize = 4;
/// Pieces that every thread should have, so that they end together.
const TURNS: usize = 2;

/// Heads of a layer: how many, how many of them share keys and values, and how wide a result is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub count: usize,
    pub group: usize,
    pub width: usize,
}

/// Some heads of some tokens, and where their results go, `[tokens, heads, width]`.
pub(super) struct Piece<'a> {
    rows: &'a [Row],
    first_row: usize,
    heads: Range<usize>,
    out: &'a mut [f32],
}

/// All pieces of a batch whose results are `out`, `[rows, heads, width]`.
pub(super) struct Pieces<'a> {
    rows: &'a [Row],
    heads: Heads,
    together: usize,
    row: usize,
    head: usize,
    out: &'a mut [f32],
}

impl<'a> Pieces<'a> {
    pub fn new(rows: &'a [Row], heads: Heads, num_threads: usize, out: &'a mut [f32]) -> Self {
        let together = (rows.len() / (TURNS * num_threads)).clamp(1, MOST_TOKENS);
        Self { rows, heads, together, row: 0, head: 0, out }
    }

    /// Calls `compute` with each piece, on one thread or several.
    pub fn for_each(self, threads: &Threads, compute: impl Fn(Piece<'a>) + Sync) {
        let longest = self.rows.iter().map(|row| row.position + 1).max().unwrap_or(0);
        match is_worth_threads(self.out.len().saturating_mul(2 * longest)) {
            true => threads.for_each(self, compute),
            false => Iterator::for_each(self, compute),
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let chunk = self.rows.get(self.row)?.chunk;
        let (first_row, first_head, Heads { count, group, width }) = (self.row, self.head, self.heads);
        let text = self.rows[first_row..].iter().take(self.together).take_while(|row| row.chunk == chunk);
        let (tokens, heads) = match self.together {
            1 => (1, first_head..(first_head + HEADS).min((first_head / group + 1) * group)),
            _ => (text.count(), 0..count),
        };
        let (out, rest) = take(&mut self.out).split_at_mut(tokens * heads.len() * width);
        self.out = rest;
        self.head = heads.end % count;
        self.row += if self.head == 0 { tokens } else { 0 };
        Some(Piece { rows: &self.rows[first_row..first_row + tokens], first_row, heads, out })
    }
}

impl Piece<'_> {
    /// Index of its text in the batch.
    pub fn chunk(&self) -> usize {
        self.rows[0].chunk
    }

    /// Positions that its last token sees.
    pub fn num_positions(&self) -> usize {
        self.rows.iter().map(|row| row.position + 1).max().unwrap_or(0)
    }

    /// Computes the results: `query` gives that of a row of the batch and a head, `memory` what the heads of a group see.
    pub fn attend<'q, T: Number + 'q>(
        self,
        heads: Heads,
        scale: f32,
        query: impl Fn(usize, usize) -> [&'q [f32]; 2],
        memory: impl Fn(usize) -> Memory<'q, T>,
    ) {
        let Self { rows, first_row, heads: own, out } = self;
        for group in own.start / heads.group..own.end.div_ceil(heads.group) {
            let sharing = own.start.max(group * heads.group)..own.end.min((group + 1) * heads.group);
            let count = sharing.len();
            let of = |index: usize| {
                let (token, head) = (index / count, sharing.start + index % count);
                let place = (token * own.len() + head - own.start) * heads.width;
                Query { parts: query(first_row + token, head), positions: rows[token].position + 1, out: place }
            };
            let all = rows.len() * count;
            for start in (0..all).step_by(MOST_QUERIES) {
                let taken = MOST_QUERIES.min(all - start);
                let queries: [Query; MOST_QUERIES] = from_fn(|index| if index < taken { of(start + index) } else { Query::default() });
                attend(Level::best(), memory(group), &queries[..taken], scale, heads.width, out);
            }
        }
    }
}
