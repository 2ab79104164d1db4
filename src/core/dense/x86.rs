//! x86-64: AVX2 with FMA, two registers a vector, and AVX-512, one. Unsafe, since these instructions are not on every processor: values of
//! these types are made only where they are (`Level`).

use super::narrow::Bf16;
use super::simd::{CODES, LANES, Simd};
use std::arch::x86_64::*;

/// A processor with AVX2 and FMA.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2 {
    _proof: (),
}

/// A processor with AVX-512: F, BW, DQ, VL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512 {
    _proof: (),
}

impl Avx2 {
    /// # Safety
    /// The processor has AVX2 and FMA.
    pub(super) unsafe fn new() -> Self {
        Self { _proof: () }
    }
}

impl Avx512 {
    /// # Safety
    /// The processor has AVX-512 F, BW, DQ and VL, AVX2 and FMA.
    pub(super) unsafe fn new() -> Self {
        Self { _proof: () }
    }
}

/// A method of a vector type: its body runs on a processor that has the instructions, as `self` proves.
macro_rules! methods {
    ($($(#[$meta:meta])* fn $name:ident$(<$generic:ident>)?(self $(, $arg:ident: $type:ty)*) $(-> $out:ty)? $body:block)*) => {
        $(
            $(#[$meta])*
            #[inline(always)]
            fn $name$(<$generic>)?(self $(, $arg: $type)*) $(-> $out)? {
                // SAFETY: the processor has the instructions; loads and stores are of whole arrays, as long as what is read or written.
                unsafe { $body }
            }
        )*
    };
}

impl Simd for Avx512 {
    type Vector = __m512;
    type Codes = __m512i;
    type Sums = __m512i;

    methods! {
        fn splat(self, number: f32) -> __m512 { _mm512_set1_ps(number) }
        fn load(self, numbers: &[f32; LANES]) -> __m512 { _mm512_loadu_ps(numbers.as_ptr()) }
        fn load_bf16(self, numbers: &[Bf16; LANES]) -> __m512 {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(numbers.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
        fn load_i8(self, numbers: &[i8; LANES]) -> __m512 {
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(numbers.as_ptr().cast())))
        }
        fn store(self, vector: __m512, numbers: &mut [f32; LANES]) { _mm512_storeu_ps(numbers.as_mut_ptr(), vector) }
        fn add(self, left: __m512, right: __m512) -> __m512 { _mm512_add_ps(left, right) }
        fn multiply(self, left: __m512, right: __m512) -> __m512 { _mm512_mul_ps(left, right) }
        fn divide(self, left: __m512, right: __m512) -> __m512 { _mm512_div_ps(left, right) }
        fn larger(self, left: __m512, right: __m512) -> __m512 { _mm512_max_ps(left, right) }
        fn multiply_add(self, left: __m512, right: __m512, added: __m512) -> __m512 { _mm512_fmadd_ps(left, right, added) }
        fn round(self, vector: __m512) -> __m512 {
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(vector)
        }
        fn scale_by_powers(self, numbers: __m512, powers: __m512) -> __m512 { _mm512_scalef_ps(numbers, powers) }
        fn no_sums(self) -> __m512i { _mm512_setzero_si512() }
        fn load_codes(self, codes: &[i8; CODES]) -> __m512i { _mm512_cvtepi8_epi16(_mm256_loadu_si256(codes.as_ptr().cast())) }
        fn add_products_of_codes(self, codes: __m512i, numbers: &[i16; CODES], sums: __m512i) -> __m512i {
            _mm512_add_epi32(sums, _mm512_madd_epi16(codes, _mm512_loadu_si512(numbers.as_ptr().cast())))
        }
        fn sums_to_floats(self, sums: __m512i) -> __m512 { _mm512_cvtepi32_ps(sums) }
        fn prefetch<T>(self, address: *const T) { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        fn totals(self, vectors: [__m512; 4]) -> [f32; 4] {
            let [a, b, c, d] = vectors;
            let first = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let second = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let (low, high) = (_mm512_shuffle_ps::<0b0100_0100>(first, second), _mm512_shuffle_ps::<0b1110_1110>(first, second));
            let quarters = _mm512_add_ps(low, high);
            let halves = _mm256_add_ps(_mm512_castps512_ps256(quarters), _mm512_extractf32x8_ps::<1>(quarters));
            let sums = _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps::<1>(halves));
            let mut totals = [0.0; 4];
            _mm_storeu_ps(totals.as_mut_ptr(), sums);
            totals
        }
    }
}

impl Simd for Avx2 {
    type Vector = [__m256; 2];
    type Codes = [__m256i; 2];
    type Sums = [__m256i; 2];

    methods! {
        fn splat(self, number: f32) -> [__m256; 2] { [_mm256_set1_ps(number); 2] }
        fn load(self, numbers: &[f32; LANES]) -> [__m256; 2] {
            [_mm256_loadu_ps(numbers.as_ptr()), _mm256_loadu_ps(numbers.as_ptr().add(8))]
        }
        fn load_bf16(self, numbers: &[Bf16; LANES]) -> [__m256; 2] {
            [bf16_half(numbers.as_ptr()), bf16_half(numbers.as_ptr().add(8))]
        }
        fn load_i8(self, numbers: &[i8; LANES]) -> [__m256; 2] {
            [i8_half(numbers.as_ptr()), i8_half(numbers.as_ptr().add(8))]
        }
        fn store(self, vector: [__m256; 2], numbers: &mut [f32; LANES]) {
            _mm256_storeu_ps(numbers.as_mut_ptr(), vector[0]);
            _mm256_storeu_ps(numbers.as_mut_ptr().add(8), vector[1]);
        }
        fn add(self, left: [__m256; 2], right: [__m256; 2]) -> [__m256; 2] {
            [_mm256_add_ps(left[0], right[0]), _mm256_add_ps(left[1], right[1])]
        }
        fn multiply(self, left: [__m256; 2], right: [__m256; 2]) -> [__m256; 2] {
            [_mm256_mul_ps(left[0], right[0]), _mm256_mul_ps(left[1], right[1])]
        }
        fn divide(self, left: [__m256; 2], right: [__m256; 2]) -> [__m256; 2] {
            [_mm256_div_ps(left[0], right[0]), _mm256_div_ps(left[1], right[1])]
        }
        fn larger(self, left: [__m256; 2], right: [__m256; 2]) -> [__m256; 2] {
            [_mm256_max_ps(left[0], right[0]), _mm256_max_ps(left[1], right[1])]
        }
        fn multiply_add(self, left: [__m256; 2], right: [__m256; 2], added: [__m256; 2]) -> [__m256; 2] {
            [_mm256_fmadd_ps(left[0], right[0], added[0]), _mm256_fmadd_ps(left[1], right[1], added[1])]
        }
        fn round(self, vector: [__m256; 2]) -> [__m256; 2] {
            const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
            [_mm256_round_ps::<NEAREST>(vector[0]), _mm256_round_ps::<NEAREST>(vector[1])]
        }
        fn scale_by_powers(self, numbers: [__m256; 2], powers: [__m256; 2]) -> [__m256; 2] {
            [scale_half(numbers[0], powers[0]), scale_half(numbers[1], powers[1])]
        }
        fn no_sums(self) -> [__m256i; 2] { [_mm256_setzero_si256(); 2] }
        fn load_codes(self, codes: &[i8; CODES]) -> [__m256i; 2] {
            let (first, second) = (_mm_loadu_si128(codes.as_ptr().cast()), _mm_loadu_si128(codes.as_ptr().add(CODES / 2).cast()));
            [_mm256_cvtepi8_epi16(first), _mm256_cvtepi8_epi16(second)]
        }
        fn add_products_of_codes(self, codes: [__m256i; 2], numbers: &[i16; CODES], sums: [__m256i; 2]) -> [__m256i; 2] {
            let first = _mm256_madd_epi16(codes[0], _mm256_loadu_si256(numbers.as_ptr().cast()));
            let second = _mm256_madd_epi16(codes[1], _mm256_loadu_si256(numbers.as_ptr().add(CODES / 2).cast()));
            [_mm256_add_epi32(sums[0], first), _mm256_add_epi32(sums[1], second)]
        }
        fn sums_to_floats(self, sums: [__m256i; 2]) -> [__m256; 2] { [_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])] }
        fn prefetch<T>(self, address: *const T) { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        fn totals(self, vectors: [[__m256; 2]; 4]) -> [f32; 4] {
            let [a, b, c, d] = vectors;
            let halves = _mm256_add_ps(quarters(a[0], b[0], c[0], d[0]), quarters(a[1], b[1], c[1], d[1]));
            let sums = _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps::<1>(halves));
            let mut totals = [0.0; 4];
            _mm_storeu_ps(totals.as_mut_ptr(), sums);
            totals
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn bf16_half(numbers: *const Bf16) -> __m256 {
    // SAFETY: the caller's: 8 numbers are there.
    let bits = _mm256_cvtepu16_epi32(unsafe { _mm_loadu_si128(numbers.cast()) });
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn i8_half(numbers: *const i8) -> __m256 {
    // SAFETY: the caller's: 8 numbers are there.
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(unsafe { _mm_loadl_epi64(numbers.cast()) }))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn scale_half(numbers: __m256, powers: __m256) -> __m256 {
    let exponents = _mm256_add_epi32(_mm256_cvtps_epi32(powers), _mm256_set1_epi32(127));
    _mm256_mul_ps(numbers, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponents)))
}

/// The sums of the quarters of four vectors' halves, `[a, b, c, d]` of one quarter, then of the other.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn quarters(a: __m256, b: __m256, c: __m256, d: __m256) -> __m256 {
    let first = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let second = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    _mm256_add_ps(_mm256_shuffle_ps::<0b0100_0100>(first, second), _mm256_shuffle_ps::<0b1110_1110>(first, second))
}
