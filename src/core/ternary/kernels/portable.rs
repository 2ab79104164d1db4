//! Plain Rust, for every processor, and what the other kernels are compared with. The quantizer is written so that compilers make
//! vectors of it; the other x86-64 kernels compile the same lines for wider ones.

use super::implementation::Implementation;
use super::product::Share;
use crate::ternary::activations::LEAST_MAGNITUDE;
use crate::ternary::int8_rows::Line;
use crate::ternary::matrix::{BLOCK_BYTES, BLOCK_COLUMNS, GROUP_ROWS};

/// 1.5 * 2^23: the sum of this and a number of magnitude below 2^22 is rounded to a whole number, half to even, whose lowest bits are
/// those of the sum.
const ROUNDING: f32 = 12_582_912.0;

pub(super) const IMPLEMENTATION: Implementation = Implementation { name: "portable", is_usable: || true, quantize_row, multiply };

/// See [`Implementation::quantize_row`].
#[inline(always)]
pub(super) fn quantize_row(row: &[f32], lines: &mut [Line], step: usize) -> (f32, i32) {
    // Without their signs, finite numbers are in the order of their bits, and all that is not finite comes behind.
    let largest = row.iter().fold(LEAST_MAGNITUDE.to_bits(), |largest, activation| largest.max(activation.abs().to_bits()));
    if largest >= f32::INFINITY.to_bits() {
        return (f32::NAN, 0);
    }
    let scale = 127.0 / f32::from_bits(largest);
    // At most 127 in magnitude, so nothing has to be clamped.
    let code = |activation: f32| (activation * scale + ROUNDING).to_bits() as i8;
    let (whole, rest) = row.as_chunks::<{ Line::LENGTH }>();
    let mut lines = lines.iter_mut().step_by(step);
    let mut sum = 0;
    for (activations, line) in whole.iter().zip(&mut lines) {
        line.0 = activations.map(code);
        sum += line.0.iter().copied().map(i32::from).sum::<i32>();
    }
    if let Some(line) = lines.next().filter(|_| !rest.is_empty()) {
        line.0 = std::array::from_fn(|index| rest.get(index).copied().map_or(0, code));
        sum += line.0.iter().copied().map(i32::from).sum::<i32>();
    }
    (scale, sum)
}

/// See [`Implementation::multiply`].
fn multiply(mut share: Share) {
    let activations = share.activations();
    let mut rows = vec![Line::ZEROS; GROUP_ROWS * activations.width()];
    for group in share.groups() {
        unpack(share.blocks(group..group + 1), activations.width(), &mut rows);
        for token in 0..activations.tokens() {
            let mut sums = [0; GROUP_ROWS];
            for (sum, row) in sums.iter_mut().zip(rows.chunks_exact(activations.width())) {
                *sum = row.iter().zip(activations.token(token)).map(|(weights, codes)| dot(weights, codes)).sum();
            }
            share.finish(token, group, &sums);
        }
    }
}

fn dot(weights: &Line, codes: &Line) -> i32 {
    weights.0.iter().zip(&codes.0).map(|(&weight, &code)| i32::from(weight) * i32::from(code)).sum()
}

/// The codes of a group, each row in `width` lines.
fn unpack(group: &[u8], width: usize, rows: &mut [Line]) {
    for (index, block) in group.as_chunks::<BLOCK_BYTES>().0.iter().enumerate() {
        for (row, lane) in block.as_chunks::<4>().0.iter().enumerate() {
            let line = &mut rows[row * width + index * BLOCK_COLUMNS / Line::LENGTH];
            let codes = line.0.as_chunks_mut::<BLOCK_COLUMNS>().0[index % (Line::LENGTH / BLOCK_COLUMNS)].as_chunks_mut::<4>().0;
            for (field, codes) in codes.iter_mut().enumerate() {
                *codes = lane.map(|byte| (byte >> (2 * field) & 3) as i8 - 1);
            }
        }
    }
}
