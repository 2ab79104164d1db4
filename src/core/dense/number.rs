//! Number types of files, heads and caches, and plain sums over them.

use super::attention::Attend;
use super::level::Level;
use super::rows::Products;
use super::simd::Simd;

/// Numbers of a vector.
pub(super) const LANES: usize = 16;

/// A number that is kept narrow and computed with in float32.
pub trait Number: Copy + Default + Send + Sync {
    fn to_f32(self) -> f32;
    fn from_f32(number: f32) -> Self;
    /// 16 of them as a vector.
    fn load<S: Simd>(simd: S, numbers: &[Self; LANES]) -> S::Vector;
    /// See [`super::products`].
    fn products(level: Level, products: Products<'_, Self>);
    /// See [`super::attend`].
    fn attend(level: Level, attend: Attend<'_, Self>);
}

/// Methods of a type that are compiled here for all processors, and not in each crate that calls [`super::products`].
macro_rules! compiled_here {
    () => {
        fn products(level: Level, products: Products<'_, Self>) {
            level.run(products);
        }

        fn attend(level: Level, attend: Attend<'_, Self>) {
            level.run(attend);
        }
    };
}

impl Number for f32 {
    fn to_f32(self) -> f32 {
        self
    }

    fn from_f32(number: f32) -> Self {
        number
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[f32; LANES]) -> S::Vector {
        simd.load(numbers)
    }

    compiled_here!();
}

/// A ternary code, or one of 8 bits.
impl Number for i8 {
    fn to_f32(self) -> f32 {
        f32::from(self)
    }

    /// Of numbers that a code of 8 bits is near.
    fn from_f32(number: f32) -> Self {
        // Adding this leaves no bits for fractions, and rounds half to even, without a call of the library on processors before SSE 4.1.
        const WHOLE: f32 = 12_582_912.0;
        ((number + WHOLE) - WHOLE) as i8
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[i8; LANES]) -> S::Vector {
        simd.load_i8(numbers)
    }

    compiled_here!();
}

/// The upper half of a float32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, bytemuck::Zeroable, bytemuck::Pod)]
#[repr(transparent)]
pub struct Bf16(pub u16);

impl Number for Bf16 {
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// Rounds half to even; what is no number stays none.
    fn from_f32(number: f32) -> Self {
        let bits = number.to_bits();
        match number.is_nan() {
            true => Self((bits >> 16) as u16 | 0x40),
            false => Self(((bits + (0x7fff + (bits >> 16 & 1))) >> 16) as u16),
        }
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[Bf16; LANES]) -> S::Vector {
        simd.load_bf16(numbers)
    }

    compiled_here!();
}

/// IEEE half precision, exactly.
pub fn f16_to_f32(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15) << 31, u32::from(bits >> 10 & 0x1f), u32::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => (fraction as f32 * 2f32.powi(-24)).to_bits(),
        0x1f => 0xff << 23 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// `Σ left[i] · right[i]` over equal lengths, in an order that depends on the length alone.
pub fn dot<T: Number>(left: &[T], right: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    for (left, right) in left.iter().zip(right) {
        for lane in 0..LANES {
            sums[lane] += left[lane].to_f32() * right[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left.to_f32() * right).sum();
    total(sums) + rest
}

/// `target[i] += factor · source[i]`.
pub fn add_scaled<T: Number>(target: &mut [f32], source: &[T], factor: f32) {
    for (target, source) in target.iter_mut().zip(source) {
        *target += factor * source.to_f32();
    }
}

/// Pairs, then pairs of pairs.
fn total(mut sums: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_read_exactly() {
        let known = [(0x0000, 0.0), (0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 5.960_464_5e-8), (0x3555, 0.333_251_95)];
        for (bits, number) in known {
            assert_eq!(f16_to_f32(bits), number, "{bits:#06x}");
        }
        assert_eq!(f16_to_f32(0x8000).to_bits(), (-0f32).to_bits());
        assert!(f16_to_f32(0x7c00).is_infinite() && f16_to_f32(0x7e01).is_nan());
    }

    #[test]
    fn bfloat16_rounds_half_to_even_and_reads_back_exactly() {
        let rounded = [(1.0, 1.0), (1.0 + 1.0 / 256.0, 1.0), (1.0 + 3.0 / 256.0, 1.015_625), (1.004, 1.007_812_5), (-2.99, -2.984_375)];
        for (number, expected) in rounded {
            assert_eq!(Bf16::from_f32(number).to_f32(), expected, "{number}");
        }
        assert!(Bf16::from_f32(f32::NAN).to_f32().is_nan() && Bf16::from_f32(f32::MAX).to_f32().is_infinite());
        for bits in (0..=u16::MAX).filter(|&bits| !Bf16(bits).to_f32().is_nan()) {
            assert_eq!(Bf16::from_f32(Bf16(bits).to_f32()), Bf16(bits));
        }
    }

    #[test]
    fn dot_products_bear_every_length() {
        for length in 0..70 {
            let left: Vec<i8> = (0..length).map(|index| (index % 7) as i8 - 3).collect();
            let right: Vec<f32> = (0..length).map(|index| (index % 5) as f32 - 2.0).collect();
            let expected: f32 = left.iter().zip(&right).map(|(&left, right)| f32::from(left) * right).sum();
            assert_eq!(dot(&left, &right), expected, "{length}");
        }
    }
}
