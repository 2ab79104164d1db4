//! Block types of ordinary numbers, to float32 and back; Q4_0 and Q6_K, which published files have their heads in, only to float32.

use super::TensorType;
use crate::{Error, Result};
use half::{bf16, f16};

/// Numbers of a Q6_K block that share its scales' layout: two halves.
const Q6_HALF: usize = 128;
/// The largest code of Q8_0.
const LARGEST_CODE: f32 = 127.0;

/// Whether [`read_floats`] reads a type.
pub fn has_floats(kind: TensorType) -> bool {
    use TensorType::{Bf16, F16, F32, I2S, Other, Q4_0, Q6K, Q8_0, Tq1_0, Tq2_0};
    match kind {
        F32 | F16 | Bf16 | Q4_0 | Q8_0 | Q6K => true,
        Tq1_0 | Tq2_0 | I2S | Other(_) => false,
    }
}

/// Fills `numbers` with those of `bytes` from position `start` on, in float32.
///
/// # Errors
/// Ours: another type, a start that is no whole block, or fewer numbers in `bytes`.
pub fn read_floats(kind: TensorType, bytes: &[u8], start: usize, numbers: &mut [f32]) -> Result<()> {
    let block = kind.block_length() as usize;
    let width = kind.num_bytes(&[block as u64])? as usize;
    let first = start / block;
    let stored = bytes.get((first * width).min(bytes.len())..).unwrap_or_default();
    let count = numbers.len();
    let not_there = || Err(Error::ours(format!("{count} numbers of {} from {start} on are not there", kind.name())));
    if !start.is_multiple_of(block) || count.div_ceil(block) > stored.len() / width {
        return not_there();
    }
    let blocks = stored.chunks_exact(width);
    match kind {
        TensorType::F32 => fill(numbers, stored, f32::from_le_bytes),
        TensorType::F16 => fill(numbers, stored, |bytes| f16::from_le_bytes(bytes).to_f32()),
        TensorType::Bf16 => fill(numbers, stored, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        TensorType::Q4_0 => numbers.chunks_mut(block).zip(blocks).for_each(|(numbers, stored)| read_q4_0(stored, numbers)),
        TensorType::Q8_0 => numbers.chunks_mut(block).zip(blocks).for_each(|(numbers, stored)| read_q8_0(stored, numbers)),
        TensorType::Q6K => numbers.chunks_mut(block).zip(blocks).for_each(|(numbers, stored)| read_q6_k(stored, numbers)),
        TensorType::Tq1_0 | TensorType::Tq2_0 | TensorType::I2S | TensorType::Other(_) => return not_there(),
    }
    Ok(())
}

/// Appends `numbers` in the type `kind`: F32, F16, BF16 or Q8_0.
///
/// # Errors
/// The user's: a number beyond the type's reach, or no whole blocks. Ours: another type.
pub fn append_floats(kind: TensorType, numbers: &[f32], bytes: &mut Vec<u8>) -> Result<()> {
    let block = kind.block_length() as usize;
    if !numbers.len().is_multiple_of(block) {
        return Err(Error::input(format!("{} numbers are no multiple of the {block} of {}", numbers.len(), kind.name())));
    }
    let not_written = || Err(Error::ours(format!("{} is not written here", kind.name())));
    let largest = match kind {
        TensorType::F32 | TensorType::Bf16 => f32::MAX,
        TensorType::F16 => f16::MAX.to_f32(),
        TensorType::Q8_0 => f16::MAX.to_f32() * LARGEST_CODE,
        TensorType::Q4_0 | TensorType::Q6K | TensorType::Tq1_0 | TensorType::Tq2_0 | TensorType::I2S | TensorType::Other(_) => {
            return not_written();
        }
    };
    if let Some(number) = numbers.iter().find(|number| number.is_nan() || number.abs() > largest) {
        return Err(Error::input(format!("{number} is beyond the numbers of {}", kind.name())));
    }
    match kind {
        TensorType::F32 => bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes())),
        TensorType::F16 => bytes.extend(numbers.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes())),
        TensorType::Bf16 => bytes.extend(numbers.iter().flat_map(|number| bf16::from_f32(*number).to_le_bytes())),
        TensorType::Q8_0 => numbers.chunks_exact(block).for_each(|numbers| append_q8_0(numbers, bytes)),
        TensorType::Q4_0 | TensorType::Q6K | TensorType::Tq1_0 | TensorType::Tq2_0 | TensorType::I2S | TensorType::Other(_) => {
            return not_written();
        }
    }
    Ok(())
}

fn fill<const WIDTH: usize>(numbers: &mut [f32], stored: &[u8], read: impl Fn([u8; WIDTH]) -> f32) {
    numbers.iter_mut().zip(stored.as_chunks::<WIDTH>().0).for_each(|(number, stored)| *number = read(*stored));
}

/// The half precision number in `bytes`.
pub(super) fn half_at(bytes: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([bytes[offset], bytes[offset + 1]]).to_f32()
}

/// Scale, then 16 bytes: number i in the lower half of byte i, number 16 + i in the upper.
fn read_q4_0(stored: &[u8], numbers: &mut [f32]) {
    let scale = half_at(stored, 0);
    for (index, number) in numbers.iter_mut().enumerate() {
        let field = stored[2 + index % 16] >> (index / 16 * 4) & 15;
        *number = (f32::from(field) - 8.0) * scale;
    }
}

/// Scale, then 32 codes.
fn read_q8_0(stored: &[u8], numbers: &mut [f32]) {
    let scale = half_at(stored, 0);
    numbers.iter_mut().zip(&stored[2..]).for_each(|(number, code)| *number = f32::from(code.cast_signed()) * scale);
}

/// `scale = max|x| / 127`; codes are rounded half away from zero, by the scale before it is rounded itself.
fn append_q8_0(numbers: &[f32], bytes: &mut Vec<u8>) {
    let scale = numbers.iter().fold(0f32, |largest, number| largest.max(number.abs())) / LARGEST_CODE;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    bytes.extend(f16::from_f32(scale).to_le_bytes());
    bytes.extend(numbers.iter().map(|number| ((number * inverse).round() as i8).cast_unsigned()));
}

/// 128 bytes of lower 4 bits, 64 of upper 2, 16 scales of 16 numbers each, and the scale of scales. Each half of the block holds its four
/// runs of 32 numbers side by side: run r has its lower bits in bytes `32 (r % 2) ..` shifted by `4 (r / 2)`, its upper at `2 r`.
fn read_q6_k(stored: &[u8], numbers: &mut [f32]) {
    let (low, rest) = stored.split_at(128);
    let (high, scales) = rest.split_at(64);
    let whole = half_at(scales, 16);
    for (index, number) in numbers.iter_mut().enumerate() {
        let (part, run, column) = (index / Q6_HALF, index % Q6_HALF / 32, index % 32);
        let lower = low[part * 64 + run % 2 * 32 + column] >> (run / 2 * 4) & 15;
        let upper = high[part * 32 + column] >> (run * 2) & 3;
        let scale = whole * f32::from(scales[index / 16].cast_signed());
        *number = scale * (f32::from(lower | upper << 4) - 32.0);
    }
}
