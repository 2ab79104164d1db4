//! 64-bit ARM with the dot products of ARMv8.4: one instruction adds the products of 16 weights with 4 activations that go to 4 rows, a
//! quarter of a block. Stable Rust has no function for it, so it is written out.
//!
//! Weights count as `code + 1`, so that a token's sum of codes is too much in every row.

use super::implementation::Implementation;
use super::panel::{self, GROUPS, Panel, Sums};
use super::portable;
use super::product::{Share, pieces};
use crate::ternary::int8_rows::{Line, MANY};
use crate::ternary::matrix::{BLOCK_BYTES, BLOCK_COLUMNS, GROUP_ROWS};
use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};
use std::ops::Range;

/// Tokens that a panel is multiplied with at a time.
const TOGETHER: usize = 8;
/// Rows of a vector, and their bytes in a block.
const QUARTER_ROWS: usize = 4;
const QUARTER_BYTES: usize = BLOCK_BYTES / 4;

pub(super) const IMPLEMENTATION: Implementation =
    Implementation { name: "neon", is_usable: || is_aarch64_feature_detected!("dotprod"), quantize_row: portable::quantize_row, multiply };

/// See [`Implementation::multiply`].
#[target_feature(enable = "neon,dotprod")]
fn multiply(mut share: Share) {
    let tokens = share.activations().tokens();
    if tokens >= MANY {
        return panel::multiply(&mut share, |panel, sums| {
            for (first, sums) in (0..panel.num_tokens).step_by(TOGETHER).zip(sums.as_chunks_mut().0) {
                panel_tokens(panel, first, sums);
            }
        });
    }
    for groups in pieces(share.groups(), 4) {
        let mut token = 0;
        while token < tokens {
            token += match tokens - token {
                4.. => few_tokens::<1, 4>(&mut share, groups.clone(), token),
                2.. => few_tokens::<2, 2>(&mut share, groups.clone(), token),
                _ => few_tokens::<4, 1>(&mut share, groups.clone(), token),
            };
        }
    }
}

/// Adds a panel times some tokens from `first` of its tokens on.
#[target_feature(enable = "neon,dotprod")]
fn panel_tokens(panel: &Panel, first: usize, sums: &mut [Sums; TOGETHER]) {
    for group in 0..GROUPS {
        for quarter in 0..GROUP_ROWS / QUARTER_ROWS {
            let mut added = [vdupq_n_s32(0); TOGETHER];
            for (rows, lines) in panel.steps::<TOGETHER>(first) {
                for (at, rows) in rows.as_chunks::<4>().0.iter().enumerate() {
                    let weights = |row: usize| load(&rows[row].0[group].as_chunks().0[quarter]);
                    multiply_block([weights(0), weights(1), weights(2), weights(3)], at, lines, &mut added);
                }
            }
            for (sums, added) in sums.iter_mut().zip(added) {
                add(added, &mut sums.0[group].as_chunks_mut().0[quarter], panel.is_first);
            }
        }
    }
}

/// Adds four weights of 4 rows in each vector, times the codes that meet block `at` of a line.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn multiply_block(weights: [uint8x16_t; 4], at: usize, lines: &[Line; TOGETHER], sums: &mut [int32x4_t; TOGETHER]) {
    for (sums, line) in sums.iter_mut().zip(lines) {
        let codes = load_codes(line, at);
        *sums = dot::<0>(*sums, weights[0], codes);
        *sums = dot::<1>(*sums, weights[1], codes);
        *sums = dot::<2>(*sums, weights[2], codes);
        *sums = dot::<3>(*sums, weights[3], codes);
    }
}

/// Some groups times `TOKENS` tokens from `first` on, `GROUPS` groups at a time; gives `TOKENS`.
#[target_feature(enable = "neon,dotprod")]
fn few_tokens<const GROUPS: usize, const TOKENS: usize>(share: &mut Share, groups: Range<usize>, first: usize) -> usize {
    for groups in pieces(groups, GROUPS) {
        let mut sums = [[[vdupq_n_s32(0); GROUP_ROWS / QUARTER_ROWS]; TOKENS]; GROUPS];
        let streams = share.streams::<GROUPS>(groups.clone());
        for index in 0..share.activations().width() {
            let lines = share.activations().lines_at::<TOKENS>(first, index);
            for (blocks, sums) in streams.at(index).iter().zip(&mut sums) {
                for quarter in 0..GROUP_ROWS / QUARTER_ROWS {
                    let added = multiply_line(blocks, quarter, lines);
                    for (sums, added) in sums.iter_mut().zip(added) {
                        sums[quarter] = vaddq_s32(sums[quarter], added);
                    }
                }
            }
        }
        for (group, sums) in groups.zip(sums) {
            for (token, quarters) in (first..).zip(sums) {
                finish(share, group, token, quarters);
            }
        }
    }
    TOKENS
}

/// Writes the results of a group for a token from its sums, which still have that of its codes in them.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn finish(share: &mut Share, group: usize, token: usize, quarters: [int32x4_t; GROUP_ROWS / QUARTER_ROWS]) {
    let too_much = vdupq_n_s32(share.activations().sums()[token]);
    let mut sums = [0; GROUP_ROWS];
    for (sums, quarter) in sums.as_chunks_mut().0.iter_mut().zip(quarters) {
        add(vsubq_s32(quarter, too_much), sums, true);
    }
    share.finish(token, group, &sums);
}

/// The sums of 4 rows of up to four blocks with a line of each token.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn multiply_line<const TOKENS: usize>(blocks: &[[u8; BLOCK_BYTES]], quarter: usize, lines: [&Line; TOKENS]) -> [int32x4_t; TOKENS] {
    let (low, high) = (vdupq_n_u8(0x03), vdupq_n_u8(0x0C));
    let mut ones = [vdupq_n_s32(0); TOKENS];
    let mut fours = [vdupq_n_s32(0); TOKENS];
    for (at, block) in blocks.iter().enumerate() {
        let first = load(&block.as_chunks().0[quarter]);
        let second = vshrq_n_u8::<4>(first);
        for token in 0..TOKENS {
            let codes = load_codes(lines[token], at);
            ones[token] = dot::<0>(ones[token], vandq_u8(first, low), codes);
            fours[token] = dot::<1>(fours[token], vandq_u8(first, high), codes);
            ones[token] = dot::<2>(ones[token], vandq_u8(second, low), codes);
            fours[token] = dot::<3>(fours[token], vandq_u8(second, high), codes);
        }
    }
    for (sums, fours) in ones.iter_mut().zip(fours) {
        *sums = vaddq_s32(*sums, vshrq_n_s32::<2>(fours));
    }
    ones
}

/// Adds to each of four rows its four weights times the four codes of `FIELD`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot<const FIELD: usize>(sums: int32x4_t, weights: uint8x16_t, codes: int8x16_t) -> int32x4_t {
    let mut sums = sums;
    // SAFETY: an instruction on registers alone, which the processor has. Weights are below 128, so their sign does not matter.
    unsafe {
        asm!("sdot {sums:v}.4s, {weights:v}.16b, {codes:v}.4b[{field}]", sums = inout(vreg) sums, weights = in(vreg) weights,
             codes = in(vreg) codes, field = const FIELD, options(pure, nomem, nostack, preserves_flags));
    }
    sums
}

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8; QUARTER_BYTES]) -> uint8x16_t {
    // SAFETY: the array has as many bytes as the vector.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

/// The codes that meet block `at` of a line of columns.
#[inline]
#[target_feature(enable = "neon")]
fn load_codes(line: &Line, at: usize) -> int8x16_t {
    // SAFETY: the array has as many bytes as the vector.
    unsafe { vld1q_s8(line.0.as_chunks::<BLOCK_COLUMNS>().0[at].as_ptr()) }
}

/// Adds to `sums`, or puts in their place.
#[inline]
#[target_feature(enable = "neon")]
fn add(mut added: int32x4_t, sums: &mut [i32; QUARTER_ROWS], is_first: bool) {
    // SAFETY: the array has as many bytes as the vector.
    unsafe {
        if !is_first {
            added = vaddq_s32(added, vld1q_s32(sums.as_ptr()));
        }
        vst1q_s32(sums.as_mut_ptr(), added);
    }
}
