//! What every instruction set has to offer: a name, whether the processor has it, a quantizer of rows and a product.

use super::product::Share;
use crate::ternary::int8_rows::Line;

/// Products by some instructions of a processor.
pub(super) struct Implementation {
    pub(super) name: &'static str,
    pub(super) is_usable: fn() -> bool,
    /// Quantizes a row into every `step`th line from the first on; gives the scale and the sum of the codes. The scale of a row with a
    /// number that is not finite is NaN. Safe where it is usable.
    pub(super) quantize_row: QuantizeRow,
    /// Writes the results of a share. Safe where it is usable.
    pub(super) multiply: unsafe fn(Share),
}

type QuantizeRow = unsafe fn(row: &[f32], lines: &mut [Line], step: usize) -> (f32, i32);
