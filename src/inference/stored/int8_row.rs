//! Rows of embedding and head in 8 bits: codes, and a scale a row.

use crate::dense::Number;

/// The largest code of 8 bits.
const LARGEST_CODE: f32 = 127.0;

/// The codes of `row`, into the beginning of `codes`; returns what a code of 1 stands for.
pub(crate) fn int8_row(row: &[f32], codes: &mut [i8]) -> f32 {
    let scale = row.iter().fold(0f32, |largest, number| largest.max(number.abs())) / LARGEST_CODE;
    let code = |number: &f32| if scale > 0.0 { i8::from_f32(number / scale) } else { 0 };
    codes.iter_mut().zip(row).for_each(|(kept, number)| *kept = code(number));
    scale
}
