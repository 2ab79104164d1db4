//! AVX-512 with VNNI: one instruction adds the products of 64 weights with 4 activations that go to all 16 rows.
//!
//! Weights count as `code + 1`, so that a token's sum of codes is too much in every row. With few tokens the fields of a byte are
//! multiplied where they lie, under a mask, into sums that are 1, 4, 16 and 64 times too large; with many, weights are unpacked first.

use super::avx2::prefetch_behind;
use super::panel::{self, GROUPS, Panel, Sums};
use super::portable;
use super::{Implementation, Share};
use crate::ternary::int8_rows::{Line, MANY, TILE};
use crate::ternary::matrix::{BLOCK_BYTES, GROUP_ROWS};
use std::arch::x86_64::*;

/// Tokens that a panel is multiplied with at a time.
const TOGETHER: usize = 8;

pub(super) const IMPLEMENTATION: Implementation = Implementation { name: "avx512", is_usable, quantize_row, multiply };

pub(super) fn is_usable() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

/// See [`Implementation::quantize_row`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn quantize_row(row: &[f32], lines: &mut [Line], step: usize) -> (f32, i32) {
    portable::quantize_row(row, lines, step)
}

/// See [`Implementation::multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn multiply(mut share: Share) {
    let tokens = share.activations().tokens();
    if tokens >= MANY {
        return panel::multiply(&mut share, |panel, sums| {
            for (first, sums) in (0..panel.num_tokens).step_by(TOGETHER).zip(sums.as_chunks_mut().0) {
                panel_tokens(panel, first, sums);
            }
        });
    }
    for group in share.groups() {
        let mut token = 0;
        while token < tokens {
            token += match tokens - token {
                4.. => few_tokens::<4>(&mut share, group, token),
                2.. => few_tokens::<2>(&mut share, group, token),
                _ => few_tokens::<1>(&mut share, group, token),
            };
        }
    }
}

/// Adds a panel times some tokens from `first` of its tokens on.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn panel_tokens(panel: &Panel, first: usize, sums: &mut [Sums; TOGETHER]) {
    let mut added = [[_mm512_setzero_si512(); GROUPS]; TOGETHER];
    if !panel.is_first {
        for (added, sums) in added.as_flattened_mut().iter_mut().zip(sums.iter().flat_map(|sums| &sums.0)) {
            // SAFETY: the array has as many bytes as the vector.
            *added = unsafe { _mm512_loadu_si512(sums.as_ptr().cast()) };
        }
    }
    let lines = panel.lines_from(first).chunks(TILE).filter_map(|lines| lines.first_chunk::<TOGETHER>());
    for (rows, lines) in panel.rows.iter().zip(lines) {
        for (index, row) in rows.iter().enumerate() {
            // SAFETY: the arrays have as many bytes as the vectors.
            let (first, second) = unsafe { (_mm512_loadu_si512(row.0[0].as_ptr().cast()), _mm512_loadu_si512(row.0[1].as_ptr().cast())) };
            for (added, line) in added.iter_mut().zip(lines) {
                let codes = _mm512_set1_epi32(line.four(index));
                added[0] = _mm512_dpbusd_epi32(added[0], first, codes);
                added[1] = _mm512_dpbusd_epi32(added[1], second, codes);
            }
        }
    }
    for (added, sums) in added.as_flattened().iter().zip(sums.iter_mut().flat_map(|sums| &mut sums.0)) {
        // SAFETY: the array has as many bytes as the vector.
        unsafe { _mm512_storeu_si512(sums.as_mut_ptr().cast(), *added) };
    }
}

/// A group times `TOKENS` tokens from `first` on; gives `TOKENS`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn few_tokens<const TOKENS: usize>(share: &mut Share, group: usize, first: usize) -> usize {
    let masks = [_mm512_set1_epi8(0x03), _mm512_set1_epi8(0x0C), _mm512_set1_epi8(0x30), _mm512_set1_epi8(0xC0u8 as i8)];
    let mut sums = [[_mm512_setzero_si512(); 4]; TOKENS];
    for (index, blocks) in share.line_blocks(group).enumerate() {
        let lines = share.activations().lines_at::<TOKENS>(first, index);
        for (at, block) in blocks.iter().enumerate() {
            let block = load(block);
            for field in 0..4 {
                let weights = _mm512_and_si512(block, masks[field]);
                for token in 0..TOKENS {
                    let codes = _mm512_set1_epi32(lines[token].four(4 * at + field));
                    sums[token][field] = _mm512_dpbusd_epi32(sums[token][field], weights, codes);
                }
            }
        }
    }
    for (token, [ones, fours, sixteens, sixty_fours]) in (first..).zip(sums) {
        let low = _mm512_add_epi32(ones, _mm512_srai_epi32::<2>(fours));
        let high = _mm512_add_epi32(_mm512_srai_epi32::<4>(sixteens), _mm512_srai_epi32::<6>(sixty_fours));
        finish(share, group, token, _mm512_add_epi32(low, high));
    }
    TOKENS
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(block: &[u8; BLOCK_BYTES]) -> __m512i {
    prefetch_behind(block);
    // SAFETY: the array has as many bytes as the vector.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

/// Writes the results of a group for a token, whose sums still have that of its codes in them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn finish(share: &mut Share, group: usize, token: usize, sums: __m512i) {
    let sums = _mm512_sub_epi32(sums, _mm512_set1_epi32(share.activations().sums()[token]));
    let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_set1_ps(share.scale()));
    let values = _mm512_div_ps(scaled, _mm512_set1_ps(share.activations().scales()[token]));
    let out = share.out(token, group);
    let rows = u16::MAX >> (GROUP_ROWS - out.len());
    // SAFETY: as many floats are written as the slice has.
    unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), rows, values) };
}
