//! AVX-VNNI: the dot products of AVX-512 on vectors of half the width, for processors that have only these. The rest is `avx2`'s.

use super::avx2::{TOGETHER, add, fields, finish, load, multiply_by_lines, prefetch, quantize_row};
use super::implementation::Implementation;
use super::panel::{self, GROUPS, Panel, Rows, Sums};
use super::product::{Share, pieces};
use crate::ternary::int8_rows::{Line, MANY};
use crate::ternary::matrix::BLOCK_BYTES;
use std::arch::x86_64::*;
use std::ops::Range;

pub(super) const IMPLEMENTATION: Implementation = Implementation { name: "avx-vnni", is_usable, quantize_row, multiply };

fn is_usable() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni")
}

multiply_by_lines!("avx2,avxvnni", multiply_line, multiply_rows);

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn multiply_rows(rows: &Rows, group: usize, half: usize, lines: &[Line; TOGETHER]) -> [__m256i; TOGETHER] {
    let mut sums = [_mm256_setzero_si256(); TOGETHER];
    for (index, row) in rows.iter().enumerate() {
        let weights = load(&row.0[group].as_chunks().0[half]);
        for (sums, line) in sums.iter_mut().zip(lines) {
            *sums = _mm256_dpbusd_avx_epi32(*sums, weights, _mm256_set1_epi32(line.four(index)));
        }
    }
    sums
}

#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn multiply_line<const TOKENS: usize>(blocks: &[[u8; BLOCK_BYTES]], half: usize, lines: [&Line; TOKENS]) -> [__m256i; TOKENS] {
    let mut ones = [_mm256_setzero_si256(); TOKENS];
    let mut fours = [_mm256_setzero_si256(); TOKENS];
    for (at, block) in blocks.iter().enumerate() {
        let fields = fields(block, half);
        for token in 0..TOKENS {
            for field in [0, 2] {
                let codes = _mm256_set1_epi32(lines[token].four(4 * at + field));
                ones[token] = _mm256_dpbusd_avx_epi32(ones[token], fields[field], codes);
                let codes = _mm256_set1_epi32(lines[token].four(4 * at + field + 1));
                fours[token] = _mm256_dpbusd_avx_epi32(fours[token], fields[field + 1], codes);
            }
        }
    }
    for (sums, fours) in ones.iter_mut().zip(fours) {
        *sums = _mm256_add_epi32(_mm256_slli_epi32::<2>(*sums), fours);
    }
    ones
}
