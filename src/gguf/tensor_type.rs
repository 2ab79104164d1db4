//! How the numbers of a tensor are stored: ggml's types by their numbers, and how many bytes a shape of each takes.

use crate::{Error, Result};

/// The most axes of a tensor.
pub const MAX_DIMENSIONS: usize = 4;
/// Bytes behind the codes of an I2_S tensor: its scale, and padding.
pub(super) const I2_S_TAIL: u64 = 32;

/// A type of ggml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorType {
    /// Four bytes a number.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a float32.
    Bf16,
    /// 32 numbers of 4 bits and a scale.
    Q4_0,
    /// 32 numbers of 8 bits and a scale.
    Q8_0,
    /// 256 numbers of 6 bits, 16 scales of 8 bits and one for all.
    Q6K,
    /// 256 ternary numbers, five in a byte, and a scale.
    Tq1_0,
    /// 256 ternary numbers of 2 bits, and a scale.
    Tq2_0,
    /// Ternary numbers of 2 bits in blocks of 128, and one scale a tensor.
    I2S,
    /// A type that can be told, but is not computed with here.
    Other(OtherType),
}

/// A row of ggml's table of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherType {
    id: u32,
    name: &'static str,
    block: u64,
    bytes: u64,
}

const fn other(id: u32, name: &'static str, block: u64, bytes: u64) -> OtherType {
    OtherType { id, name, block, bytes }
}

const KNOWN: [TensorType; 9] = [
    TensorType::F32,
    TensorType::F16,
    TensorType::Bf16,
    TensorType::Q4_0,
    TensorType::Q8_0,
    TensorType::Q6K,
    TensorType::Tq1_0,
    TensorType::Tq2_0,
    TensorType::I2S,
];

const OTHERS: [OtherType; 20] = [
    other(3, "Q4_1", 32, 20),
    other(6, "Q5_0", 32, 22),
    other(7, "Q5_1", 32, 24),
    other(10, "Q2_K", 256, 84),
    other(11, "Q3_K", 256, 110),
    other(12, "Q4_K", 256, 144),
    other(13, "Q5_K", 256, 176),
    other(16, "IQ2_XXS", 256, 66),
    other(17, "IQ2_XS", 256, 74),
    other(18, "IQ3_XXS", 256, 98),
    other(19, "IQ1_S", 256, 50),
    other(20, "IQ4_NL", 32, 18),
    other(21, "IQ3_S", 256, 110),
    other(22, "IQ2_S", 256, 82),
    other(23, "IQ4_XS", 256, 136),
    other(24, "I8", 1, 1),
    other(25, "I16", 1, 2),
    other(26, "I32", 1, 4),
    other(27, "I64", 1, 8),
    other(28, "F64", 1, 8),
];

impl TensorType {
    /// The type that a file means by `id`.
    pub fn of_id(id: u32) -> Option<Self> {
        let known = KNOWN.into_iter().find(|known| known.id() == id);
        known.or_else(|| OTHERS.into_iter().find(|other| other.id == id).map(Self::Other))
    }

    /// What a file writes for it.
    pub fn id(self) -> u32 {
        self.row().id
    }

    /// As llama.cpp has it.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Numbers of a block; rows are whole blocks.
    pub fn block_length(self) -> u64 {
        self.row().block
    }

    /// Whether a tensor of it is codes -1, 0 and 1 with a scale.
    pub fn is_ternary(self) -> bool {
        self.has_block_scales() || self.has_tail()
    }

    /// Whether its blocks are ternary codes, each with a scale.
    pub fn has_block_scales(self) -> bool {
        match self {
            Self::Tq1_0 | Self::Tq2_0 => true,
            Self::F32 | Self::F16 | Self::Bf16 | Self::Q4_0 | Self::Q8_0 | Self::Q6K | Self::I2S | Self::Other(_) => false,
        }
    }

    /// Whether a tensor of it is ternary codes with one scale behind them.
    pub fn has_tail(self) -> bool {
        match self {
            Self::I2S => true,
            Self::F32 | Self::F16 | Self::Bf16 | Self::Q4_0 | Self::Q8_0 | Self::Q6K | Self::Tq1_0 | Self::Tq2_0 | Self::Other(_) => false,
        }
    }

    /// Bytes of a tensor whose shape, the innermost axis first, is `dimensions`.
    ///
    /// # Errors
    /// The user's: no axis, an empty one, more than [`MAX_DIMENSIONS`], more numbers than there can be, or rows that are no whole blocks.
    pub fn num_bytes(self, dimensions: &[u64]) -> Result<u64> {
        if dimensions.is_empty() || dimensions.len() > MAX_DIMENSIONS || dimensions.contains(&0) {
            return Err(Error::input(format!("the shape {dimensions:?} is none: 1 to {MAX_DIMENSIONS} axes, each of 1 or more")));
        }
        let OtherType { name, block, bytes, .. } = self.row();
        if !dimensions[0].is_multiple_of(block) {
            return Err(Error::input(format!("rows of {} numbers are no multiple of the {block} of {name}", dimensions[0])));
        }
        let numbers = dimensions.iter().try_fold(1u64, |product, axis| product.checked_mul(*axis)).filter(|numbers| *numbers < 1 << 62);
        let tail = if self.has_tail() { I2_S_TAIL } else { 0 };
        let total = numbers.and_then(|numbers| (numbers / block).checked_mul(bytes)?.checked_add(tail));
        total.ok_or_else(|| Error::input(format!("the shape {dimensions:?} has more numbers than there can be")))
    }

    fn row(self) -> OtherType {
        match self {
            Self::F32 => other(0, "F32", 1, 4),
            Self::F16 => other(1, "F16", 1, 2),
            Self::Bf16 => other(30, "BF16", 1, 2),
            Self::Q4_0 => other(2, "Q4_0", 32, 18),
            Self::Q8_0 => other(8, "Q8_0", 32, 34),
            Self::Q6K => other(14, "Q6_K", 256, 210),
            Self::Tq1_0 => other(34, "TQ1_0", 256, 54),
            Self::Tq2_0 => other(35, "TQ2_0", 256, 66),
            Self::I2S => other(36, "I2_S", 128, 32),
            Self::Other(row) => row,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_number_of_its_own_and_is_found_by_it() {
        let mut ids: Vec<u32> = KNOWN.map(TensorType::id).into_iter().chain(OTHERS.map(|other| other.id)).collect();
        assert!(ids.iter().all(|&id| TensorType::of_id(id).unwrap().id() == id));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), KNOWN.len() + OTHERS.len());
        assert_eq!([4, 5, 31, 37, 38, 99, u32::MAX].map(TensorType::of_id), [None; 7]);
    }

    #[test]
    fn the_bytes_of_a_shape_are_counted_without_overflow() {
        let known = [(TensorType::F32, 12), (TensorType::Bf16, 6)];
        known.into_iter().for_each(|(kind, bytes)| assert_eq!(kind.num_bytes(&[3]).unwrap(), bytes));
        assert_eq!(TensorType::Tq2_0.num_bytes(&[512, 3]).unwrap(), 6 * 66);
        assert_eq!(TensorType::Tq1_0.num_bytes(&[256, 2, 2, 1]).unwrap(), 4 * 54);
        assert_eq!(TensorType::I2S.num_bytes(&[256, 3]).unwrap(), 192 + 32);
        for shape in [&[][..], &[0], &[4, 0], &[1, 1, 1, 1, 1]] {
            assert!(TensorType::F32.num_bytes(shape).unwrap_err().to_string().contains("is none"), "{shape:?}");
        }
        for shape in [&[u64::MAX][..], &[1 << 62], &[1 << 32, 1 << 32], &[1 << 40, 1 << 40, 1 << 40, 1 << 40]] {
            assert!(TensorType::F32.num_bytes(shape).unwrap_err().to_string().contains("more numbers"), "{shape:?}");
        }
        assert!(TensorType::Tq2_0.num_bytes(&[300, 4]).unwrap_err().to_string().contains("rows of 300 numbers"));
    }
}
