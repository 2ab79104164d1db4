//! Prompts: weights are unpacked to a byte each, once for many tokens, in pieces that stay in the first cache while all tokens pass by. Owns
//! the order of things and the sums that wait in between; the products are those of each instruction set.
//!
//! A panel is two row groups, some columns wide. Four columns are a row of 128 bytes: the lanes of 16 weight rows of the first group, then of
//! the second. It is what dot products take as vectors, and what AMX takes as tiles of 16 such rows. Weights count as `code + 1`, so that a
//! token's sum of codes is too much in every row.

use super::product::{Share, pieces};
use crate::ternary::int8_rows::{Line, TILE};
use crate::ternary::matrix::{BLOCK_BYTES, BLOCK_COLUMNS, GROUP_ROWS};
use std::cell::Cell;
use std::ops::Range;

/// Groups of a panel.
pub(super) const GROUPS: usize = 2;
/// The most columns of a panel, in lines: 16 KiB, next to as much of activations.
const PANEL_LINES: usize = 8;
/// Groups whose sums wait for their next columns, while activations of those stay in the second cache.
const WAITING_GROUPS: usize = 8;
/// Tokens whose sums wait.
const WAITING_TOKENS: usize = 512;

/// Four columns of two groups, in cache lines of their own.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Row(pub(super) [[u8; BLOCK_BYTES]; GROUPS]);

/// The columns of a line; those that do not exist are zeros.
pub(super) type Rows = [Row; Line::LENGTH / 4];

/// Sums of a token, for the rows of a panel.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Sums(pub(super) [[i32; GROUP_ROWS]; GROUPS]);

thread_local! {
    /// Rows of a panel and sums that wait, kept from one product of a thread to the next.
    static SCRATCH: Cell<(Vec<Rows>, Vec<Sums>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// A panel, and the activations that it is multiplied with.
pub(super) struct Panel<'a> {
    /// Weights of 64 columns each.
    pub(super) rows: &'a [Rows],
    /// The lines of all tokens from the first on, beginning with that of the first column.
    lines: &'a [Line],
    width: usize,
    pub(super) num_tokens: usize,
    /// Whether these are the first columns of a matrix: sums have no meaning yet.
    pub(super) is_first: bool,
}

impl<'a> Panel<'a> {
    /// The lines of the tile, or of the part of it, that begins with `token`, from the first of the panel's columns on.
    pub(super) fn lines_from(&self, token: usize) -> &'a [Line] {
        &self.lines[token / TILE * TILE * self.width + token % TILE..]
    }

    /// The weights of each line of columns, with that line of `TOKENS` tokens from `first` on, which lie in one tile.
    #[inline]
    pub(super) fn steps<const TOKENS: usize>(&self, first: usize) -> impl Iterator<Item = (&'a Rows, &'a [Line; TOKENS])> {
        let lines = self.lines_from(first).chunks(TILE).filter_map(|lines| lines.first_chunk());
        self.rows.iter().zip(lines)
    }
}

/// Computes a share: `accumulate` adds a panel's products to the sums of the tokens. The tokens are a multiple of 32; those that do not
/// exist have sums that are ignored. Inlined, so that it is compiled for the instructions of the caller.
#[inline(always)]
pub(super) fn multiply(share: &mut Share, mut accumulate: impl FnMut(&Panel, &mut [Sums])) {
    let activations = share.activations();
    let width = activations.width();
    let (mut rows, mut sums) = SCRATCH.take();
    rows.resize(PANEL_LINES, [Row([[0; BLOCK_BYTES]; GROUPS]); Line::LENGTH / 4]);
    sums.resize(WAITING_TOKENS * WAITING_GROUPS / GROUPS, Sums([[0; GROUP_ROWS]; GROUPS]));
    for tokens in pieces(0..activations.tokens(), WAITING_TOKENS) {
        for groups in pieces(share.groups(), WAITING_GROUPS) {
            for columns in pieces(0..width, PANEL_LINES) {
                for (groups, sums) in pieces(groups.clone(), GROUPS).zip(sums.chunks_exact_mut(WAITING_TOKENS)) {
                    let rows = &mut rows[..columns.len()];
                    unpack(share, groups, columns.start, rows);
                    let lines = &activations.lines()[activations.first_line(tokens.start) + columns.start * TILE..];
                    let panel = Panel { rows, lines, width, num_tokens: tokens.len(), is_first: columns.start == 0 };
                    accumulate(&panel, &mut sums[..tokens.len().next_multiple_of(2 * TILE)]);
                }
            }
            finish(share, tokens.clone(), groups, &sums);
        }
    }
    SCRATCH.set((rows, sums));
}

/// Writes the results of `groups` for `tokens`.
#[inline(always)]
fn finish(share: &mut Share, tokens: Range<usize>, groups: Range<usize>, sums: &[Sums]) {
    for (index, token) in tokens.enumerate() {
        let too_much = share.activations().sums()[token];
        for (at, group) in groups.clone().enumerate() {
            let mut sums = sums[at / GROUPS * WAITING_TOKENS + index].0[at % GROUPS];
            for sum in &mut sums {
                *sum -= too_much;
            }
            share.finish(token, group, &sums);
        }
    }
}

/// Writes all of `rows`: the weights of `groups`, one or two, from column `64 * first_line` on.
#[inline(always)]
fn unpack(share: &Share, groups: Range<usize>, first_line: usize, rows: &mut [Rows]) {
    for (half, group) in groups.enumerate() {
        let blocks = &share.blocks(group..group + 1)[first_line * Line::LENGTH / BLOCK_COLUMNS * BLOCK_BYTES..];
        let mut blocks = blocks.as_chunks::<BLOCK_BYTES>().0.iter();
        for rows in rows.as_flattened_mut().as_chunks_mut::<4>().0 {
            // A copy: the compiler need not ask whether what is written is what is read.
            let block = &blocks.next().copied().unwrap_or([0; BLOCK_BYTES]);
            unpack_field::<0>(block, &mut rows[0].0[half]);
            unpack_field::<2>(block, &mut rows[1].0[half]);
            unpack_field::<4>(block, &mut rows[2].0[half]);
            unpack_field::<6>(block, &mut rows[3].0[half]);
        }
    }
}

#[inline(always)]
fn unpack_field<const SHIFT: u32>(block: &[u8; BLOCK_BYTES], weights: &mut [u8; BLOCK_BYTES]) {
    for (weight, byte) in weights.iter_mut().zip(block) {
        *weight = byte >> SHIFT & 3;
    }
}
