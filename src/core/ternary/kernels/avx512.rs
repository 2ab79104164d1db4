//! AVX-512 with VNNI: one instruction adds the products of 64 weights with 4 activations that go to all 16 rows.
//!
//! Weights count as `code + 1`, so that a token's sum of codes is too much in every row. With few tokens the fields of a byte are
//! multiplied where they lie, under a mask, into sums that are 1, 4, 16 and 64 times too large; with many, weights are unpacked first.

use super::avx2::prefetch;
use super::implementation::Implementation;
use super::panel::{self, GROUPS, Panel, Sums};
use super::portable;
use super::product::{Share, pieces};
use crate::ternary::int8_rows::{Line, MANY};
use crate::ternary::matrix::GROUP_ROWS;
use std::arch::x86_64::*;
use std::ops::Range;

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
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn panel_tokens(panel: &Panel, first: usize, sums: &mut [Sums; TOGETHER]) {
    let mut added = [[_mm512_setzero_si512(); GROUPS]; TOGETHER];
    if !panel.is_first {
        for (added, sums) in added.as_flattened_mut().iter_mut().zip(sums.iter().flat_map(|sums| &sums.0)) {
            *added = load(sums);
        }
    }
    for (rows, lines) in panel.steps::<TOGETHER>(first) {
        for (index, row) in rows.iter().enumerate() {
            let (first, second) = (load(&row.0[0]), load(&row.0[1]));
            for (added, line) in added.iter_mut().zip(lines) {
                let codes = _mm512_set1_epi32(line.four(index));
                added[0] = _mm512_dpbusd_epi32(added[0], first, codes);
                added[1] = _mm512_dpbusd_epi32(added[1], second, codes);
            }
        }
    }
    for (added, sums) in added.as_flattened().iter().zip(sums.iter_mut().flat_map(|sums| &mut sums.0)) {
        store(*added, sums);
    }
}

/// Some groups times `TOKENS` tokens from `first` on, `GROUPS` groups at a time; gives `TOKENS`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn few_tokens<const GROUPS: usize, const TOKENS: usize>(share: &mut Share, groups: Range<usize>, first: usize) -> usize {
    for groups in pieces(groups, GROUPS) {
        let sums = sum_fields::<GROUPS, TOKENS>(share, groups.clone(), first);
        for (group, sums) in groups.zip(sums) {
            for (token, [ones, fours, sixteens, sixty_fours]) in (first..).zip(sums) {
                let low = _mm512_add_epi32(ones, _mm512_srai_epi32::<2>(fours));
                let high = _mm512_add_epi32(_mm512_srai_epi32::<4>(sixteens), _mm512_srai_epi32::<6>(sixty_fours));
                let too_much = _mm512_set1_epi32(share.activations().sums()[token]);
                let mut sums = [0; GROUP_ROWS];
                store(_mm512_sub_epi32(_mm512_add_epi32(low, high), too_much), &mut sums);
                share.finish(token, group, &sums);
            }
        }
    }
    TOKENS
}

/// The sums of each field, for each of `groups` and some tokens from `first` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn sum_fields<const GROUPS: usize, const TOKENS: usize>(
    share: &Share,
    groups: Range<usize>,
    first: usize,
) -> [[[__m512i; 4]; TOKENS]; GROUPS] {
    let masks = [_mm512_set1_epi8(0x03), _mm512_set1_epi8(0x0C), _mm512_set1_epi8(0x30), _mm512_set1_epi8(0xC0u8 as i8)];
    let mut sums = [[[_mm512_setzero_si512(); 4]; TOKENS]; GROUPS];
    let streams = share.streams::<GROUPS>(groups);
    for index in 0..share.activations().width() {
        let lines = share.activations().lines_at::<TOKENS>(first, index);
        let (streams, ahead) = (streams.at(index), streams.ahead(index));
        for at in 0..streams[0].len() {
            for (blocks, sums) in streams.iter().zip(&mut sums) {
                prefetch(blocks[at].as_ptr().wrapping_add(ahead));
                let block = load(&blocks[at]);
                for field in 0..4 {
                    let weights = _mm512_and_si512(block, masks[field]);
                    for token in 0..TOKENS {
                        let codes = _mm512_set1_epi32(lines[token].four(4 * at + field));
                        sums[token][field] = _mm512_dpbusd_epi32(sums[token][field], weights, codes);
                    }
                }
            }
        }
    }
    sums
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load<T, const LENGTH: usize>(numbers: &[T; LENGTH]) -> __m512i {
    const { assert!(size_of::<[T; LENGTH]>() == size_of::<__m512i>()) };
    // SAFETY: the array has as many bytes as the vector.
    unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(vector: __m512i, numbers: &mut [i32; GROUP_ROWS]) {
    // SAFETY: the array has as many bytes as the vector.
    unsafe { _mm512_storeu_si512(numbers.as_mut_ptr().cast(), vector) };
}
