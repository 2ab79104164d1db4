//! Sixteen float32 numbers side by side, on whatever a processor has for them. Algorithms are written once, over [`Simd`]; every
//! implementation adds and multiplies the same numbers in the same order, and differs in whether a product is rounded before it is added.

use super::narrow::Bf16;
use std::array::from_fn;

/// Numbers of a vector.
pub(super) const LANES: usize = 16;
/// Codes of 8 bits that are multiplied at a time.
pub(super) const CODES: usize = 32;

/// Instructions that work on vectors of 16 numbers. A value of such a type is proof that the processor has them.
pub trait Simd: Copy {
    /// 16 numbers.
    type Vector: Copy;
    /// 32 codes of 8 bits, ready to multiply.
    type Codes: Copy;
    /// 16 whole numbers of 32 bits.
    type Sums: Copy;

    fn splat(self, number: f32) -> Self::Vector;
    fn load(self, numbers: &[f32; LANES]) -> Self::Vector;
    fn load_bf16(self, numbers: &[Bf16; LANES]) -> Self::Vector;
    fn load_i8(self, numbers: &[i8; LANES]) -> Self::Vector;
    fn store(self, vector: Self::Vector, numbers: &mut [f32; LANES]);
    fn add(self, left: Self::Vector, right: Self::Vector) -> Self::Vector;
    fn multiply(self, left: Self::Vector, right: Self::Vector) -> Self::Vector;
    fn divide(self, left: Self::Vector, right: Self::Vector) -> Self::Vector;
    fn larger(self, left: Self::Vector, right: Self::Vector) -> Self::Vector;
    /// `left · right + added`.
    fn multiply_add(self, left: Self::Vector, right: Self::Vector, added: Self::Vector) -> Self::Vector;
    /// Half to even.
    fn round(self, vector: Self::Vector) -> Self::Vector;
    /// `numbers · 2^powers`, with whole powers of -126 to 127 and a result that is no subnormal.
    fn scale_by_powers(self, numbers: Self::Vector, powers: Self::Vector) -> Self::Vector;
    fn no_sums(self) -> Self::Sums;
    fn load_codes(self, codes: &[i8; CODES]) -> Self::Codes;
    /// Products of codes and numbers, added to `sums` in pairs of neighbours; what overflows wraps.
    fn add_products_of_codes(self, codes: Self::Codes, numbers: &[i16; CODES], sums: Self::Sums) -> Self::Sums;
    fn sums_to_floats(self, sums: Self::Sums) -> Self::Vector;
    /// Asks for the memory at `address` ahead of its use; any address will do.
    fn prefetch<T>(self, address: *const T);

    /// The sum of each vector's numbers, in the order of [`total`].
    fn totals(self, vectors: [Self::Vector; 4]) -> [f32; 4] {
        vectors.map(|vector| total(&self.numbers(vector)))
    }

    /// The numbers of a vector.
    #[inline(always)]
    fn numbers(self, vector: Self::Vector) -> [f32; LANES] {
        let mut numbers = [0.0; LANES];
        self.store(vector, &mut numbers);
        numbers
    }

    /// `e^x` for numbers up to 0, to 2e-7 of itself; what is below -87 counts as that.
    #[inline(always)]
    fn exponential(self, numbers: Self::Vector) -> Self::Vector {
        // e^x = 2^n · e^r with n = round(x / ln 2) and r = x - n · ln 2 in two parts (Cody and Waite); e^r by its Taylor series.
        const LEAST: f32 = -87.0;
        let bounded = self.larger(numbers, self.splat(LEAST));
        let powers = self.round(self.multiply(bounded, self.splat(std::f32::consts::LOG2_E)));
        let rest = self.multiply_add(powers, self.splat(-0.693_359_4), bounded);
        let rest = self.multiply_add(powers, self.splat(2.121_944_4e-4), rest);
        let mut sum = self.splat(1.0 / 5040.0);
        for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            sum = self.multiply_add(sum, rest, self.splat(factor));
        }
        self.scale_by_powers(sum, powers)
    }
}

/// A number that vectors are loaded from.
pub trait Lane: Copy + Default + Send + Sync {
    /// 16 of them as a vector.
    fn load<S: Simd>(simd: S, numbers: &[Self; LANES]) -> S::Vector;
}

impl Lane for f32 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[f32; LANES]) -> S::Vector {
        simd.load(numbers)
    }
}

impl Lane for i8 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[i8; LANES]) -> S::Vector {
        simd.load_i8(numbers)
    }
}

impl Lane for Bf16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[Bf16; LANES]) -> S::Vector {
        simd.load_bf16(numbers)
    }
}

/// The sum of 16 numbers: those of each quarter in pairs, then the quarters in pairs. It is the order that vectors are best added up in.
#[inline(always)]
pub(super) fn total(numbers: &[f32; LANES]) -> f32 {
    let quarter = |at: usize| (numbers[at] + numbers[at + 2]) + (numbers[at + 1] + numbers[at + 3]);
    (quarter(0) + quarter(8)) + (quarter(4) + quarter(12))
}

/// What every processor can do; the reference of the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    type Vector = [f32; LANES];
    type Codes = [i16; CODES];
    type Sums = [i32; LANES];

    #[inline(always)]
    fn splat(self, number: f32) -> [f32; LANES] {
        [number; LANES]
    }

    #[inline(always)]
    fn load(self, numbers: &[f32; LANES]) -> [f32; LANES] {
        *numbers
    }

    #[inline(always)]
    fn load_bf16(self, numbers: &[Bf16; LANES]) -> [f32; LANES] {
        numbers.map(|number| f32::from_bits(u32::from(number.0) << 16))
    }

    #[inline(always)]
    fn load_i8(self, numbers: &[i8; LANES]) -> [f32; LANES] {
        numbers.map(f32::from)
    }

    #[inline(always)]
    fn store(self, vector: [f32; LANES], numbers: &mut [f32; LANES]) {
        *numbers = vector;
    }

    #[inline(always)]
    fn add(self, left: [f32; LANES], right: [f32; LANES]) -> [f32; LANES] {
        from_fn(|lane| left[lane] + right[lane])
    }

    #[inline(always)]
    fn multiply(self, left: [f32; LANES], right: [f32; LANES]) -> [f32; LANES] {
        from_fn(|lane| left[lane] * right[lane])
    }

    #[inline(always)]
    fn divide(self, left: [f32; LANES], right: [f32; LANES]) -> [f32; LANES] {
        from_fn(|lane| left[lane] / right[lane])
    }

    #[inline(always)]
    fn larger(self, left: [f32; LANES], right: [f32; LANES]) -> [f32; LANES] {
        from_fn(|lane| if left[lane] > right[lane] { left[lane] } else { right[lane] })
    }

    #[inline(always)]
    fn multiply_add(self, left: [f32; LANES], right: [f32; LANES], added: [f32; LANES]) -> [f32; LANES] {
        from_fn(|lane| left[lane] * right[lane] + added[lane])
    }

    #[inline(always)]
    fn round(self, vector: [f32; LANES]) -> [f32; LANES] {
        vector.map(f32::round_ties_even)
    }

    #[inline(always)]
    fn scale_by_powers(self, numbers: [f32; LANES], powers: [f32; LANES]) -> [f32; LANES] {
        from_fn(|lane| numbers[lane] * f32::from_bits(((powers[lane] as i32 + 127) as u32) << 23))
    }

    #[inline(always)]
    fn no_sums(self) -> [i32; LANES] {
        [0; LANES]
    }

    #[inline(always)]
    fn load_codes(self, codes: &[i8; CODES]) -> [i16; CODES] {
        codes.map(i16::from)
    }

    #[inline(always)]
    fn add_products_of_codes(self, codes: [i16; CODES], numbers: &[i16; CODES], sums: [i32; LANES]) -> [i32; LANES] {
        let product = |at: usize| i32::from(codes[at]) * i32::from(numbers[at]);
        from_fn(|lane| sums[lane].wrapping_add(product(2 * lane) + product(2 * lane + 1)))
    }

    #[inline(always)]
    fn sums_to_floats(self, sums: [i32; LANES]) -> [f32; LANES] {
        sums.map(|sum| sum as f32)
    }

    #[inline(always)]
    fn prefetch<T>(self, _address: *const T) {}
}
