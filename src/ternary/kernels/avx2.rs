//! AVX2: products of unsigned and signed bytes, added in pairs into 16 bits, which hold those of one line of activations. Owns what
//! `avx_vnni` does in the same way: 8 rows at a time, the upper or the lower half of a block.
//!
//! Weights count as `code + 1`, so that a token's sum of codes is too much in every row.

use super::portable;
use super::{Implementation, Share};
use crate::ternary::int8_rows::Line;
use crate::ternary::matrix::{BLOCK_BYTES, GROUP_ROWS};
use std::arch::x86_64::*;

pub(super) const IMPLEMENTATION: Implementation =
    Implementation { name: "avx2", is_usable: || is_x86_feature_detected!("avx2"), quantize_row, multiply };

/// See [`Implementation::quantize_row`].
#[target_feature(enable = "avx2")]
pub(super) fn quantize_row(row: &[f32], lines: &mut [Line], step: usize) -> (f32, i32) {
    portable::quantize_row(row, lines, step)
}

/// The way through a share for functions with `$features`: `$multiply_line` gives four times the sums of 8 rows of up to four blocks with
/// a line of each token.
macro_rules! multiply_by_lines {
    ($features:literal, $multiply_line:ident) => {
        /// See [`Implementation::multiply`].
        #[target_feature(enable = $features)]
        fn multiply(mut share: Share) {
            let tokens = share.activations().tokens();
            for group in share.groups() {
                let mut token = 0;
                while token < tokens {
                    token += match tokens - token {
                        4.. => multiply_tokens::<4>(&mut share, group, token),
                        2.. => multiply_tokens::<2>(&mut share, group, token),
                        _ => multiply_tokens::<1>(&mut share, group, token),
                    };
                }
            }
        }

        /// A group times `TOKENS` tokens from `first` on; gives `TOKENS`.
        #[target_feature(enable = $features)]
        fn multiply_tokens<const TOKENS: usize>(share: &mut Share, group: usize, first: usize) -> usize {
            let mut sums = [[_mm256_setzero_si256(); 2]; TOKENS];
            for (index, blocks) in share.line_blocks(group).enumerate() {
                let lines = share.activations().lines_at::<TOKENS>(first, index);
                for half in 0..2 {
                    let added = $multiply_line(blocks, half, lines);
                    for (sums, added) in sums.iter_mut().zip(added) {
                        sums[half] = _mm256_add_epi32(sums[half], added);
                    }
                }
            }
            for (token, sums) in (first..).zip(sums) {
                finish(share, group, token, sums);
            }
            TOKENS
        }
    };
}
pub(super) use multiply_by_lines;

multiply_by_lines!("avx2", multiply_line);

/// In 16 bits there are at most 4 * 2 * 2 products of 12, a field that was not shifted, with -128.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply_line<const TOKENS: usize>(blocks: &[[u8; BLOCK_BYTES]], half: usize, lines: [&Line; TOKENS]) -> [__m256i; TOKENS] {
    let mut ones = [_mm256_setzero_si256(); TOKENS];
    let mut fours = [_mm256_setzero_si256(); TOKENS];
    for (at, block) in blocks.iter().enumerate() {
        let fields = fields(block, half);
        for token in 0..TOKENS {
            for field in [0, 2] {
                let products = _mm256_maddubs_epi16(fields[field], _mm256_set1_epi32(lines[token].four(4 * at + field)));
                ones[token] = _mm256_add_epi16(ones[token], products);
                let products = _mm256_maddubs_epi16(fields[field + 1], _mm256_set1_epi32(lines[token].four(4 * at + field + 1)));
                fours[token] = _mm256_add_epi16(fours[token], products);
            }
        }
    }
    for (sums, fours) in ones.iter_mut().zip(fours) {
        *sums = _mm256_add_epi32(_mm256_madd_epi16(*sums, _mm256_set1_epi16(4)), _mm256_madd_epi16(fours, _mm256_set1_epi16(1)));
    }
    ones
}

/// The fields of half a block; the second and the fourth are four times too large.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn fields(block: &[u8; BLOCK_BYTES], half: usize) -> [__m256i; 4] {
    let (low, high) = (_mm256_set1_epi8(0x03), _mm256_set1_epi8(0x0C));
    if half == 0 {
        prefetch_behind(block);
    }
    // SAFETY: the array has as many bytes as the vector.
    let first = unsafe { _mm256_loadu_si256(block.as_chunks::<{ BLOCK_BYTES / 2 }>().0[half].as_ptr().cast()) };
    let second = _mm256_srli_epi16::<4>(first);
    [_mm256_and_si256(first, low), _mm256_and_si256(first, high), _mm256_and_si256(second, low), _mm256_and_si256(second, high)]
}

/// Asks for the weights a page behind those of `block`: hardware alone stops at the end of each page.
#[inline]
#[allow(unused_unsafe)] // The function is unsafe in Rust 1.89.
pub(super) fn prefetch_behind(block: &[u8; BLOCK_BYTES]) {
    const PAGE: usize = 4096;
    // SAFETY: a hint, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(block.as_ptr().wrapping_add(PAGE).cast()) };
}

/// Writes the results of a group for a token from four times its sums, which still have that of its codes in them.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn finish(share: &mut Share, group: usize, token: usize, halves: [__m256i; 2]) {
    let too_much = _mm256_set1_epi32(share.activations().sums()[token]);
    let mut sums = [0; GROUP_ROWS];
    for (sums, half) in sums.as_chunks_mut::<8>().0.iter_mut().zip(halves) {
        let half = _mm256_sub_epi32(_mm256_srai_epi32::<2>(half), too_much);
        // SAFETY: the array has as many bytes as the vector.
        unsafe { _mm256_storeu_si256(sums.as_mut_ptr().cast(), half) };
    }
    share.finish(token, group, &sums);
}
