//! 64-bit ARM with the dot products of ARMv8.4: one instruction adds the products of 16 weights with 4 activations that go to 4 rows, a
//! quarter of a block. Stable Rust has no function for it, so it is written out.
//!
//! Weights count as `code + 1`, so that a token's sum of codes is too much in every row.

use super::portable;
use super::{Implementation, Share};
use crate::ternary::int8_rows::Line;
use crate::ternary::matrix::{BLOCK_BYTES, BLOCK_COLUMNS, GROUP_ROWS};
use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

/// Rows of a vector, and their bytes in a block.
const QUARTER_ROWS: usize = 4;
const QUARTER_BYTES: usize = BLOCK_BYTES / 4;

pub(super) const IMPLEMENTATION: Implementation =
    Implementation { name: "neon", is_usable: || is_aarch64_feature_detected!("dotprod"), quantize_row: portable::quantize_row, multiply };

/// See [`Implementation::multiply`].
#[target_feature(enable = "neon,dotprod")]
fn multiply(mut share: Share) {
    let tokens = share.activations().tokens();
    for group in share.groups() {
        let mut token = 0;
        while token < tokens {
            token += match tokens - token {
                8.. => multiply_tokens::<8>(&mut share, group, token),
                4.. => multiply_tokens::<4>(&mut share, group, token),
                2.. => multiply_tokens::<2>(&mut share, group, token),
                _ => multiply_tokens::<1>(&mut share, group, token),
            };
        }
    }
}

/// A group times `TOKENS` tokens from `first` on; gives `TOKENS`.
#[target_feature(enable = "neon,dotprod")]
fn multiply_tokens<const TOKENS: usize>(share: &mut Share, group: usize, first: usize) -> usize {
    let mut sums = [[vdupq_n_s32(0); GROUP_ROWS / QUARTER_ROWS]; TOKENS];
    for (index, blocks) in share.line_blocks(group).enumerate() {
        let lines = share.activations().lines_at::<TOKENS>(first, index);
        for quarter in 0..GROUP_ROWS / QUARTER_ROWS {
            let added = multiply_line(blocks, quarter, lines);
            for (sums, added) in sums.iter_mut().zip(added) {
                sums[quarter] = vaddq_s32(sums[quarter], added);
            }
        }
    }
    for (token, quarters) in (first..).zip(sums) {
        let too_much = vdupq_n_s32(share.activations().sums()[token]);
        let mut sums = [0; GROUP_ROWS];
        for (sums, quarter) in sums.as_chunks_mut::<QUARTER_ROWS>().0.iter_mut().zip(quarters) {
            // SAFETY: the array has as many bytes as the vector.
            unsafe { vst1q_s32(sums.as_mut_ptr(), vsubq_s32(quarter, too_much)) };
        }
        share.finish(token, group, &sums);
    }
    TOKENS
}

/// The sums of 4 rows of up to four blocks with a line of each token.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn multiply_line<const TOKENS: usize>(blocks: &[[u8; BLOCK_BYTES]], quarter: usize, lines: [&Line; TOKENS]) -> [int32x4_t; TOKENS] {
    let (low, high) = (vdupq_n_u8(0x03), vdupq_n_u8(0x0C));
    let mut ones = [vdupq_n_s32(0); TOKENS];
    let mut fours = [vdupq_n_s32(0); TOKENS];
    for (at, block) in blocks.iter().enumerate() {
        // SAFETY: the array has as many bytes as the vector.
        let first = unsafe { vld1q_u8(block.as_chunks::<QUARTER_BYTES>().0[quarter].as_ptr()) };
        let second = vshrq_n_u8::<4>(first);
        for token in 0..TOKENS {
            // SAFETY: the array has as many bytes as the vector.
            let codes = unsafe { vld1q_s8(lines[token].0.as_chunks::<BLOCK_COLUMNS>().0[at].as_ptr()) };
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
