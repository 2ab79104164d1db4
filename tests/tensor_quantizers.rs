//! The quantizers on tensors against the reference quantizers on slices, row by row on random and on awkward numbers; their gradients;
//! and that NaN is never turned into a number.
#![cfg(feature = "torch")]

mod recorded;

use bitnet::config::{ActivationQuantizer, WeightQuantizer};
use bitnet::model::{quantize_activations, quantize_weights, weight_codes};
use bitnet::random::Random;
use bitnet::ternary::activations::{int4_absmean, int8_absmax};
use bitnet::ternary::weights::{sign, ternary_absmean};
use recorded::{bits, floats};
use tch::{Kind, Tensor};

const WIDTHS: [usize; 8] = [1, 2, 3, 5, 16, 31, 64, 257];
const ROWS_PER_WIDTH: usize = 12_500;
/// How far from the point where a code changes two orders of summation may disagree about the code, as a share of the number.
const NEAR: f64 = 1e-6;

/// A row of one of eight kinds: zeros, a constant, ties, an outlier, subnormal, large, small, plain.
fn row(random: &mut Random, width: usize) -> Vec<f32> {
    let kind = random.below(8);
    let constant = (random.unit() - 0.5) as f32;
    let number = |index: usize| {
        let plain = (random.unit() + random.unit() + random.unit() - 1.5) as f32;
        match kind {
            0 => 0.0,
            1 => constant,
            2 if index == 0 => 127.0,
            2 => (plain * 80.0).floor() + 0.5,
            3 if index == width / 2 => plain * 1000.0,
            4 => plain * 1e-40,
            5 => plain * 1e33,
            6 => plain * 1e-20,
            _ => plain,
        }
    };
    (0..width).map(number).collect()
}

/// `ROWS_PER_WIDTH` rows of every width, float32 or rounded to bfloat16.
fn matrices(purpose: &str, kind: Kind) -> impl Iterator<Item = Tensor> {
    WIDTHS.into_iter().map(move |width| {
        let mut random = Random::derive(11, purpose, width as u64);
        let numbers: Vec<f32> = (0..ROWS_PER_WIDTH).flat_map(|_| row(&mut random, width)).collect();
        Tensor::from_slice(&numbers).view([-1, width as i64]).to_kind(kind)
    })
}

#[test]
fn int8_values_are_those_of_the_reference_on_100_000_rows() {
    for matrix in [Kind::Float, Kind::BFloat16].into_iter().flat_map(|kind| matrices("int8", kind)) {
        let (width, input) = (matrix.size()[1] as usize, floats(&matrix));
        let found = floats(&quantize_activations(&matrix, ActivationQuantizer::Int8Absmax));
        for (input, found) in input.chunks_exact(width).zip(found.chunks_exact(width)) {
            // The scales are the same, so equal values are equal codes.
            assert_eq!(found, int8_absmax(input).unwrap().values(), "{input:?}");
        }
    }
}

#[test]
fn int4_codes_are_those_of_the_reference_on_100_000_rows() {
    for matrix in [Kind::Float, Kind::BFloat16].into_iter().flat_map(|kind| matrices("int4", kind)) {
        let (width, input) = (matrix.size()[1] as usize, floats(&matrix));
        let found = floats(&quantize_activations(&matrix, ActivationQuantizer::Int4Absmean));
        for (input, found) in input.chunks_exact(width).zip(found.chunks_exact(width)) {
            check_int4_row(input, found);
        }
    }
}

/// libtorch sums in another order, so the mean may differ in its last bits: a number within them of a tie may take either code.
fn check_int4_row(input: &[f32], found: &[f32]) {
    let reference = int4_absmean(input).unwrap();
    let mean = f64::from(reference.mean_magnitude);
    if mean == 0.0 {
        return assert!(found.iter().all(|&value| value == 0.0), "{input:?} gave {found:?}");
    }
    for ((&number, &value), &code) in input.iter().zip(found).zip(&reference.codes) {
        let unrounded = 7f64.sqrt() * f64::from(number) / mean;
        // A subnormal mean has few bits: the last of them is a large share of it.
        let doubt = unrounded.abs() * (NEAR + 1.5e-45 / mean);
        if (unrounded - unrounded.floor() - 0.5).abs() > doubt {
            let found_code = (f64::from(value) * 7f64.sqrt() / mean).round();
            // The value of a code in the last bits of the smallest numbers cannot be divided back.
            assert!(mean < 1e-38 || found_code == f64::from(code), "{number} of {input:?} gave code {found_code}, not {code}");
        }
    }
}

#[test]
fn weight_codes_are_those_of_the_reference() {
    let mut num_checked = 0;
    for matrix in matrices("weights", Kind::Float).flat_map(|matrix| matrix.split(25, 0)) {
        let input = floats(&matrix);
        let (ternary, signs) = (ternary_absmean(&input).unwrap(), sign(&input).unwrap());
        let mean = input.iter().copied().map(f64::from).sum::<f64>() / input.len() as f64;
        let far_from_half = |number: f64| ((number / f64::from(ternary.scale)).abs() - 0.5).abs() > NEAR;
        // What the order of summation can do to the mean: a share of the numbers, not of the mean, which may cancel.
        let far_from_mean = |number: f64| (number - mean).abs() > NEAR * f64::from(signs.scale) * 10.0;
        num_checked += check_weights(&matrix, WeightQuantizer::TernaryAbsmean, (&ternary.codes, ternary.scale), far_from_half);
        num_checked += check_weights(&matrix, WeightQuantizer::Sign, (&signs.codes, signs.scale), far_from_mean);
    }
    assert!(num_checked > 5_000_000, "only {num_checked} codes were far from a boundary");
}

/// The number of codes that were compared. The scale may differ in its last bits, by the order of summation.
fn check_weights(matrix: &Tensor, quantizer: WeightQuantizer, expected: (&[i8], f32), is_clear: impl Fn(f64) -> bool) -> usize {
    let (codes, scale) = weight_codes(matrix, quantizer);
    let (codes, scale) = (floats(&codes), scale.double_value(&[]));
    let limit = 4e-7 * f64::from(expected.1) + 1.5e-45;
    assert!((scale - f64::from(expected.1)).abs() <= limit, "{quantizer:?}: scale {scale}, not {}", expected.1);
    let values = floats(&quantize_weights(matrix, quantizer));
    let mut num_checked = 0;
    for (index, number) in floats(matrix).into_iter().enumerate() {
        assert_eq!(values[index], codes[index] * scale as f32, "{quantizer:?}: value of {number}");
        if is_clear(f64::from(number)) {
            assert_eq!(codes[index], f32::from(expected.0[index]), "{quantizer:?}: code of {number} with scale {scale}");
            num_checked += 1;
        }
    }
    num_checked
}

#[test]
fn without_a_quantizer_nothing_changes() {
    for matrix in matrices("none", Kind::Float) {
        assert_eq!(bits(&quantize_activations(&matrix, ActivationQuantizer::None)), bits(&matrix));
        assert_eq!(bits(&quantize_weights(&matrix, WeightQuantizer::None)), bits(&matrix));
        let (codes, scale) = weight_codes(&matrix, WeightQuantizer::None);
        assert_eq!((bits(&codes), scale.double_value(&[])), (bits(&matrix), 1.0));
    }
}

#[test]
fn gradients_pass_straight_through_every_quantizer_bit_for_bit() {
    let matrix = || Tensor::randn([7, 33], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
    let arriving = Tensor::randn([7, 33], (Kind::Float, tch::Device::Cpu));
    for &quantizer in ActivationQuantizer::ALL {
        let input = matrix();
        (quantize_activations(&input, quantizer) * &arriving).sum(Kind::Float).backward();
        assert_eq!(bits(&input.grad()), bits(&arriving), "{quantizer:?}");
    }
    for &quantizer in WeightQuantizer::ALL {
        let weight = matrix();
        (quantize_weights(&weight, quantizer) * &arriving).sum(Kind::Float).backward();
        assert_eq!(bits(&weight.grad()), bits(&arriving), "{quantizer:?}");
    }
}

#[test]
fn a_gradient_does_not_change_the_value() {
    for &quantizer in ActivationQuantizer::ALL {
        for matrix in matrices("gradient", Kind::Float) {
            let plain = quantize_activations(&matrix, quantizer);
            let with_gradient = quantize_activations(&matrix.copy().set_requires_grad(true), quantizer);
            assert_eq!(floats(&with_gradient), floats(&plain), "{quantizer:?}");
        }
    }
}

fn quantizes(quantizer: ActivationQuantizer) -> bool {
    match quantizer {
        ActivationQuantizer::Int8Absmax | ActivationQuantizer::Int4Absmean => true,
        ActivationQuantizer::None => false,
    }
}

#[test]
fn a_number_that_is_not_finite_never_becomes_one_that_is() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in [0, 3, 8] {
            let mut numbers = vec![0.5f32; 18];
            numbers[9 + place] = bad;
            let matrix = Tensor::from_slice(&numbers).view([2, 9]);
            for quantizer in ActivationQuantizer::ALL.iter().filter(|quantizer| quantizes(**quantizer)) {
                let values = floats(&quantize_activations(&matrix, *quantizer));
                assert!(values[..9].iter().all(|value| value.is_finite()), "{quantizer:?}: other rows are not touched");
                assert!(values[9..].iter().any(|value| value.is_nan()), "{quantizer:?} of {bad} gave {:?}", &values[9..]);
            }
            for quantizer in WeightQuantizer::ALL.iter().filter(|quantizer| quantizer.has_codes()) {
                let values = floats(&quantize_weights(&matrix, *quantizer));
                assert!(values.iter().any(|value| value.is_nan()), "{quantizer:?} of {bad} gave {values:?}");
            }
        }
    }
}
