//! Prompts on x86-64 with AVX-512: weights are unpacked to a byte each, once for many tokens, in pieces that stay in the first cache while
//! all tokens pass by. Owns the order of things and the sums that wait in between; the products are `avx512`'s and `amx`'s.
//!
//! A panel is two row groups, some columns wide. Four columns are a row of 128 bytes: the lanes of 16 weight rows of the first group, then of
//! the second. It is what a dot product takes as vectors, and what AMX takes as tiles of 16 such rows.

use super::Share;
use super::avx512::finish;
use crate::ternary::int8_rows::{Line, TILE};
use crate::ternary::matrix::{BLOCK_BYTES, BLOCK_COLUMNS, GROUP_ROWS};
use std::arch::x86_64::*;
use std::cell::RefCell;
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

/// What a thread keeps from one product to the next.
struct Scratch {
    rows: Vec<Rows>,
    sums: Vec<Sums>,
}

thread_local!(static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { rows: Vec::new(), sums: Vec::new() }) });

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
    /// The lines of the tile, or of its half, that begins with `token`, from the first of the panel's columns on.
    pub(super) fn lines_from(&self, token: usize) -> &'a [Line] {
        &self.lines[token / TILE * TILE * self.width + token % TILE..]
    }
}

/// Computes a share: `accumulate` adds a panel's products to the sums of the tokens. The tokens are a multiple of 32; those that do not
/// exist have sums that are ignored.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn multiply(share: &mut Share, mut accumulate: impl FnMut(&Panel, &mut [Sums])) {
    let activations = share.activations();
    let width = activations.width();
    SCRATCH.with_borrow_mut(|Scratch { rows, sums }| {
        rows.resize(PANEL_LINES, [Row([[0; BLOCK_BYTES]; GROUPS]); 16]);
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
                for (index, token) in tokens.clone().enumerate() {
                    for (at, group) in groups.clone().enumerate() {
                        let sums = &sums[at / GROUPS * WAITING_TOKENS + index].0[at % GROUPS];
                        // SAFETY: the array has as many bytes as the vector.
                        finish(share, group, token, unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) });
                    }
                }
            }
        }
    });
}

/// `range` in pieces of `size`, the last perhaps shorter.
fn pieces(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(size).map(move |start| start..range.end.min(start + size))
}

/// Writes all of `rows`: the weights of `groups`, one or two, from column `64 * first_line` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn unpack(share: &Share, groups: Range<usize>, first_line: usize, rows: &mut [Rows]) {
    let mask = _mm512_set1_epi8(3);
    for (half, group) in groups.enumerate() {
        let blocks = &share.blocks(group..group + 1)[first_line * Line::LENGTH / BLOCK_COLUMNS * BLOCK_BYTES..];
        let mut blocks = blocks.as_chunks::<BLOCK_BYTES>().0.iter();
        for rows in rows.as_flattened_mut().as_chunks_mut::<4>().0 {
            // SAFETY: the array has as many bytes as the vector.
            let block = unsafe { _mm512_loadu_si512(blocks.next().unwrap_or(&[0; BLOCK_BYTES]).as_ptr().cast()) };
            let fields = [block, _mm512_srli_epi32::<2>(block), _mm512_srli_epi32::<4>(block), _mm512_srli_epi32::<6>(block)];
            for (row, field) in rows.iter_mut().zip(fields) {
                // SAFETY: the array has as many bytes as the vector.
                unsafe { _mm512_storeu_si512(row.0[half].as_mut_ptr().cast(), _mm512_and_si512(field, mask)) };
            }
        }
    }
}
