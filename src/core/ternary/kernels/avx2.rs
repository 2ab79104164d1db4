//! AVX2: products of unsigned and signed bytes, added in pairs into 16 bits, which hold those of one line of activations. Owns what
//! `avx_vnni` does in the same way: 8 rows at a time, the upper or the lower half of a block.
//!
//! Weights count as `code + 1`, so that a token's sum of codes is too much in every row.

use super::implementation::Implementation;
use super::panel::{self, GROUPS, Panel, Rows, Sums};
use super::portable;
use super::product::{Share, pieces};
use crate::ternary::int8_rows::{Line, MANY};
use crate::ternary::matrix::{BLOCK_BYTES, GROUP_ROWS};
use std::arch::x86_64::*;
use std::ops::Range;

/// Tokens that a panel is multiplied with at a time.
pub(super) const TOGETHER: usize = 8;

pub(super) const IMPLEMENTATION: Implementation =
    Implementation { name: "avx2", is_usable: || is_x86_feature_detected!("avx2"), quantize_row, multiply };

/// See [`Implementation::quantize_row`].
#[target_feature(enable = "avx2")]
pub(super) fn quantize_row(row: &[f32], lines: &mut [Line], step: usize) -> (f32, i32) {
    portable::quantize_row(row, lines, step)
}

/// The way through a share for functions with `$features`: `$multiply_line` gives four times the sums of 8 rows, the upper or the lower half
/// of four blocks, with a line of each token.
macro_rules! multiply_by_lines {
    ($features:literal, $multiply_line:ident, $multiply_rows:ident) => {
        /// See [`Implementation::multiply`].
        #[target_feature(enable = $features)]
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
                        4.. => multiply_tokens::<1, 4>(&mut share, groups.clone(), token),
                        2.. => multiply_tokens::<2, 2>(&mut share, groups.clone(), token),
                        _ => multiply_tokens::<4, 1>(&mut share, groups.clone(), token),
                    };
                }
            }
        }

        /// Adds a panel times some tokens from `first` of its tokens on.
        #[target_feature(enable = $features)]
        fn panel_tokens(panel: &Panel, first: usize, sums: &mut [Sums; TOGETHER]) {
            for group in 0..GROUPS {
                for half in 0..2 {
                    let mut added = [_mm256_setzero_si256(); TOGETHER];
                    for (rows, lines) in panel.steps::<TOGETHER>(first) {
                        for (added, line) in added.iter_mut().zip($multiply_rows(rows, group, half, lines)) {
                            *added = _mm256_add_epi32(*added, line);
                        }
                    }
                    for (sums, added) in sums.iter_mut().zip(added) {
                        add(added, &mut sums.0[group].as_chunks_mut().0[half], panel.is_first);
                    }
                }
            }
        }

        /// Some groups times `TOKENS` tokens from `first` on, `GROUPS` groups at a time; gives `TOKENS`.
        #[target_feature(enable = $features)]
        fn multiply_tokens<const GROUPS: usize, const TOKENS: usize>(share: &mut Share, groups: Range<usize>, first: usize) -> usize {
            for groups in pieces(groups, GROUPS) {
                let mut sums = [[[_mm256_setzero_si256(); 2]; TOKENS]; GROUPS];
                let streams = share.streams::<GROUPS>(groups.clone());
                for index in 0..share.activations().width() {
                    let lines = share.activations().lines_at::<TOKENS>(first, index);
                    for (blocks, sums) in streams.at(index).iter().zip(&mut sums) {
                        for block in *blocks {
                            prefetch(block.as_ptr().wrapping_add(streams.ahead(index)));
                        }
                        for half in 0..2 {
                            let added = $multiply_line(blocks, half, lines);
                            for (sums, added) in sums.iter_mut().zip(added) {
                                sums[half] = _mm256_add_epi32(sums[half], added);
                            }
                        }
                    }
                }
                for (group, sums) in groups.zip(sums) {
                    for (token, halves) in (first..).zip(sums) {
                        finish(share, group, token, halves);
                    }
                }
            }
            TOKENS
        }
    };
}
pub(super) use multiply_by_lines;

multiply_by_lines!("avx2", multiply_line, multiply_rows);

/// In 16 bits there are at most 16 * 2 products of 3 with -128.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply_rows(rows: &Rows, group: usize, half: usize, lines: &[Line; TOGETHER]) -> [__m256i; TOGETHER] {
    let mut sums = [_mm256_setzero_si256(); TOGETHER];
    for (index, row) in rows.iter().enumerate() {
        let weights = load(&row.0[group].as_chunks().0[half]);
        for (sums, line) in sums.iter_mut().zip(lines) {
            *sums = _mm256_add_epi16(*sums, _mm256_maddubs_epi16(weights, _mm256_set1_epi32(line.four(index))));
        }
    }
    for sums in &mut sums {
        *sums = _mm256_madd_epi16(*sums, _mm256_set1_epi16(1));
    }
    sums
}

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
    let first = load(&block.as_chunks().0[half]);
    let second = _mm256_srli_epi16::<4>(first);
    [_mm256_and_si256(first, low), _mm256_and_si256(first, high), _mm256_and_si256(second, low), _mm256_and_si256(second, high)]
}

/// Asks for what lies at an address, or nowhere.
#[inline]
#[allow(unused_unsafe)] // The function is unsafe in Rust 1.89.
pub(super) fn prefetch(address: *const u8) {
    // SAFETY: a hint, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

/// Writes the results of a group for a token from four times its sums, which still have that of its codes in them.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn finish(share: &mut Share, group: usize, token: usize, halves: [__m256i; 2]) {
    let too_much = _mm256_set1_epi32(share.activations().sums()[token]);
    let mut sums = [0; GROUP_ROWS];
    for (sums, half) in sums.as_chunks_mut().0.iter_mut().zip(halves) {
        add(_mm256_sub_epi32(_mm256_srai_epi32::<2>(half), too_much), sums, true);
    }
    share.finish(token, group, &sums);
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(bytes: &[u8; BLOCK_BYTES / 2]) -> __m256i {
    // SAFETY: the array has as many bytes as the vector.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Adds to `sums`, or puts in their place.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add(mut added: __m256i, sums: &mut [i32; GROUP_ROWS / 2], is_first: bool) {
    // SAFETY: the array has as many bytes as the vector.
    unsafe {
        if !is_first {
            added = _mm256_add_epi32(added, _mm256_loadu_si256(sums.as_ptr().cast()));
        }
        _mm256_storeu_si256(sums.as_mut_ptr().cast(), added);
    }
}
