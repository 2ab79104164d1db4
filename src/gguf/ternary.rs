//! Block types of ternary numbers: codes -1, 0 and 1 in, the same codes out. Nothing is quantized here: a matrix comes as codes and the
//! one scale that a code of 1 stands for.

use super::TensorType;
use super::floats::half_at;
use super::tensor_type::I2_S_TAIL;
use crate::{Error, Result};
use half::f16;

/// Codes of a block of TQ1_0 or TQ2_0.
const TQ_CODES: usize = 256;
/// Bytes of a block's scale.
const SCALE_BYTES: usize = 2;
/// Runs of a TQ1_0 block: planes, and bytes of each. Plane p of a run is digit p of its bytes, the first the most significant.
const TQ1_RUNS: [(usize, usize); 3] = [(5, 32), (5, 16), (4, 4)];
/// Codes of a block of I2_S, and its bytes.
const I2_CODES: usize = 128;
const I2_BYTES: usize = 32;

/// Where the scale of a matrix in TQ1_0 or TQ2_0 is kept. I2_S has it in float32 behind the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaling {
    /// In every block, rounded to half precision.
    InBlocks,
    /// In a tensor of one float32 beside the matrix, which is named `.scale` in place of `.weight`; blocks then say 1.
    Beside,
}

/// A matrix that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct TernaryBlocks {
    /// -1, 0 or 1, row after row.
    pub codes: Vec<i8>,
    /// What a code of 1 stands for, unless a `.scale` beside the matrix multiplies it. 1 where all codes are 0 and so are the scales.
    pub scale: f32,
}

/// Appends the matrix of `codes`, each -1, 0 or 1, in the type `kind`. `scale` is what the file says of them: with
/// [`Scaling::Beside`] it is 1.
///
/// # Errors
/// The user's: codes that are no whole blocks or not ternary, and a scale that is 0, infinite or no number in the precision of the type.
/// Ours: a type that is not ternary.
pub fn append_codes(kind: TensorType, codes: &[i8], scale: f32, bytes: &mut Vec<u8>) -> Result<()> {
    let block = kind.block_length() as usize;
    if !codes.len().is_multiple_of(block) {
        return Err(Error::input(format!("{} codes are no multiple of the {block} of {}", codes.len(), kind.name())));
    }
    if let Some(index) = codes.iter().position(|code| !(-1..=1).contains(code)) {
        return Err(Error::input(format!("code {index} is {}: only -1, 0 and 1 are ternary", codes[index])));
    }
    let kept = if kind.has_tail() { scale } else { f16::from_f32(scale).to_f32() };
    if !is_scale(kept) {
        let hint = "keep the scale in a tensor of its own beside the matrix";
        return Err(Error::input(format!("the scale {scale} is {kept} in {}", kind.name())).hint(hint));
    }
    match kind {
        TensorType::Tq1_0 => codes.chunks_exact(block).for_each(|codes| append_tq1_0(codes, scale, bytes)),
        TensorType::Tq2_0 => codes.chunks_exact(block).for_each(|codes| append_tq2_0(codes, scale, bytes)),
        TensorType::I2S => append_i2_s(codes, scale, bytes),
        TensorType::F32
        | TensorType::F16
        | TensorType::Bf16
        | TensorType::Q4_0
        | TensorType::Q8_0
        | TensorType::Q6K
        | TensorType::Other(_) => return Err(Error::ours(format!("{} is not ternary", kind.name()))),
    }
    Ok(())
}

/// The `num_codes` codes in `bytes`, and their scale.
///
/// # Errors
/// The user's: bits that are no code, a scale that is none, or blocks with different scales, which are not one ternary matrix. Ours: a
/// type that is not ternary, or another number of bytes.
pub fn read_codes(kind: TensorType, bytes: &[u8], num_codes: usize) -> Result<TernaryBlocks> {
    let due = kind.num_bytes(&[num_codes as u64])?;
    let no_codes = || Err(Error::ours(format!("{} bytes of {} are not the {due} of {num_codes} codes", bytes.len(), kind.name())));
    if bytes.len() as u64 != due {
        return no_codes();
    }
    let mut codes = vec![0; num_codes];
    let scale = match kind {
        TensorType::Tq1_0 => read_tq(read_tq1_0, bytes, &mut codes)?,
        TensorType::Tq2_0 => read_tq(read_tq2_0, bytes, &mut codes)?,
        TensorType::I2S => read_i2_s(bytes, &mut codes)?,
        TensorType::F32
        | TensorType::F16
        | TensorType::Bf16
        | TensorType::Q4_0
        | TensorType::Q8_0
        | TensorType::Q6K
        | TensorType::Other(_) => return no_codes(),
    };
    if let Some(index) = codes.iter().position(|code| *code == 2) {
        return Err(Error::input(format!("number {index} is bits 3, which are no ternary code")).hint("the file is damaged"));
    }
    Ok(TernaryBlocks { codes, scale })
}

/// Above 0, and a number.
fn is_scale(scale: f32) -> bool {
    scale > 0.0 && scale.is_finite()
}

/// The blocks of a matrix, which have one scale, but for those that are zeros.
fn read_tq(read: fn(&[u8], &mut [i8]), bytes: &[u8], codes: &mut [i8]) -> Result<f32> {
    let width = bytes.len() / (codes.len() / TQ_CODES).max(1);
    let mut found: Option<(usize, f32)> = None;
    for (index, (codes, block)) in codes.chunks_exact_mut(TQ_CODES).zip(bytes.chunks_exact(width)).enumerate() {
        read(block, codes);
        let scale = half_at(block, width - SCALE_BYTES);
        if scale == 0.0 && codes.iter().all(|code| *code == 0) {
            continue;
        }
        if !is_scale(scale) {
            return Err(Error::input(format!("the scale of block {index} is {scale}: it must be above 0")).hint("the file is damaged"));
        }
        let (first, other) = *found.get_or_insert((index, scale));
        if other != scale {
            let message =
                format!("blocks {first} and {index} have the scales {other} and {scale}: this is no ternary matrix with one scale");
            return Err(Error::input(message).hint("it may be quantized from other than ternary weights; convert the model again"));
        }
    }
    Ok(found.map_or(1.0, |(_, scale)| scale))
}

/// Byte = ceil(256 v / 243), where v has the codes + 1 of its planes as digits of base 3; a run of four planes has 0 for the fifth.
fn append_tq1_0(codes: &[i8], scale: f32, bytes: &mut Vec<u8>) {
    let mut rest = codes;
    for (planes, width) in TQ1_RUNS {
        let (run, others) = rest.split_at(planes * width);
        rest = others;
        bytes.extend((0..width).map(|column| {
            let number = run[column..].iter().step_by(width).fold(0, |number, code| 3 * number + field(*code) as u16);
            let number = if planes == 4 { 3 * number } else { number };
            (number * 256).div_ceil(243) as u8
        }));
    }
    bytes.extend(f16::from_f32(scale).to_le_bytes());
}

/// Digit p is the upper part of `(byte · 3^p mod 256) · 3`.
fn read_tq1_0(block: &[u8], codes: &mut [i8]) {
    let (mut stored, mut rest) = (block, codes);
    for (planes, width) in TQ1_RUNS {
        let (run, others) = rest.split_at_mut(planes * width);
        for (plane, codes) in run.chunks_exact_mut(width).enumerate() {
            let factor = 3u8.pow(plane as u32);
            for (code, byte) in codes.iter_mut().zip(stored) {
                *code = ((u16::from(byte.wrapping_mul(factor)) * 3) >> 8) as i8 - 1;
            }
        }
        (stored, rest) = (&stored[width..], others);
    }
}

/// Two groups of 128: byte m of a group holds its numbers m, 32 + m, 64 + m and 96 + m, from the lowest bits on.
fn append_tq2_0(codes: &[i8], scale: f32, bytes: &mut Vec<u8>) {
    for group in codes.as_chunks::<128>().0 {
        bytes.extend((0..32).map(|column| (0..4).fold(0, |byte, plane| byte | field(group[32 * plane + column]) << (2 * plane))));
    }
    bytes.extend(f16::from_f32(scale).to_le_bytes());
}

fn read_tq2_0(block: &[u8], codes: &mut [i8]) {
    for (group, stored) in codes.as_chunks_mut::<128>().0.iter_mut().zip(block.as_chunks::<32>().0) {
        for (index, code) in group.iter_mut().enumerate() {
            *code = (stored[index % 32] >> (index / 32 * 2) & 3) as i8 - 1;
        }
    }
}

/// Byte p of a block holds its numbers p, 32 + p, 64 + p and 96 + p, from the highest bits on; behind all blocks come the scale and padding.
fn append_i2_s(codes: &[i8], scale: f32, bytes: &mut Vec<u8>) {
    for block in codes.as_chunks::<I2_CODES>().0 {
        let byte = |column: usize| (0..4).fold(0, |byte, plane| byte << 2 | field(block[I2_BYTES * plane + column]));
        bytes.extend((0..I2_BYTES).map(byte));
    }
    let end = bytes.len() + I2_S_TAIL as usize;
    bytes.extend(scale.to_le_bytes());
    bytes.resize(end, 0);
}

fn read_i2_s(bytes: &[u8], codes: &mut [i8]) -> Result<f32> {
    let (stored, tail) = bytes.split_at(bytes.len() - I2_S_TAIL as usize);
    for (block, stored) in codes.as_chunks_mut::<I2_CODES>().0.iter_mut().zip(stored.as_chunks::<I2_BYTES>().0) {
        for (index, code) in block.iter_mut().enumerate() {
            *code = (stored[index % I2_BYTES] >> (6 - index / I2_BYTES * 2) & 3) as i8 - 1;
        }
    }
    let scale = f32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    match is_scale(scale) {
        true => Ok(scale),
        false if scale == 0.0 && codes.iter().all(|code| *code == 0) => Ok(1.0),
        false => Err(Error::input(format!("the scale is {scale}: it must be above 0")).hint("the file is damaged")),
    }
}

/// `code + 1`.
fn field(code: i8) -> u8 {
    code.wrapping_add(1).cast_unsigned()
}
