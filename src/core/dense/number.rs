//! The number types of files, heads and caches, and what is computed over each: products, attention, plain sums.

use super::attention::{Attend, Memory, Query};
use super::level::Level;
use super::narrow::Bf16;
use super::rows::Products;
use super::simd::{LANES, Lane};

/// A number that is kept narrow and computed with in float32.
pub trait Number: Lane {
    fn to_f32(self) -> f32;
    fn from_f32(number: f32) -> Self;
    /// See [`products`].
    fn products(level: Level, products: Products<'_, Self>);
    /// See [`attend`].
    fn attend(level: Level, attend: Attend<'_, Self>);
}

/// `out[j, i] = Σ_k matrix[j, k] · activations[i, k]`: `out` is `[rows, tokens]`, `matrix` `[rows, columns]`, `activations` `[tokens,
/// columns]`. The order of the sums depends on `columns` alone. Lengths that do not fit compute less.
pub fn products<T: Number>(level: Level, matrix: &[T], activations: &[f32], columns: usize, out: &mut [f32]) {
    T::products(level, Products { matrix, activations, columns, out });
}

/// `out[query.out..] = Σ softmax(scale · query · keys[i]) · values[i]` over the positions of each query, `width` numbers wide.
///
/// # Panics
/// With more than [`super::MOST_QUERIES`], a query that sees no position or more than there are, or other widths.
pub fn attend<T: Number>(level: Level, memory: Memory<'_, T>, queries: &[Query<'_>], scale: f32, width: usize, out: &mut [f32]) {
    T::attend(level, Attend { memory, queries, scale, width, out });
}

/// Methods of a type that are compiled here for all processors, and not in each crate that calls [`products`].
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

    compiled_here!();
}

/// A ternary code, or one of 8 bits.
impl Number for i8 {
    fn to_f32(self) -> f32 {
        f32::from(self)
    }

    /// For numbers that a code of 8 bits is near.
    fn from_f32(number: f32) -> Self {
        // Adding this leaves no bits for fractions, and rounds half to even, without a call of the library on processors before SSE 4.1.
        const WHOLE: f32 = 12_582_912.0;
        ((number + WHOLE) - WHOLE) as i8
    }

    compiled_here!();
}

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

    compiled_here!();
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
