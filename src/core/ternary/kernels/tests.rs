//! Every kernel that this processor can run against the reference in `activations` and `product`.

use super::*;
use crate::random::Random;
use crate::ternary::activations::{Int8Row, int8_absmax};
use crate::ternary::int8_rows::Int8Rows;
use crate::ternary::matrix::PackedMatrix;
use crate::ternary::multiply::multiply_with;
use crate::ternary::product::forward;
use crate::ternary::weights::TernaryMatrix;

const COLUMNS: [usize; 9] = [1, 5, 15, 16, 63, 64, 65, 100, 5460];
const ROWS: [usize; 5] = [1, 15, 16, 17, 100];
const TOKENS: [usize; 10] = [1, 2, 3, 7, 8, 16, 17, 33, 100, 521];

fn ternary(random: &mut Random, length: usize) -> Vec<i8> {
    (0..length).map(|_| random.below(3) as i8 - 1).collect()
}

fn int8(random: &mut Random, length: usize) -> Vec<i8> {
    (0..length).map(|_| random.next_u64() as i8).collect()
}

/// What `kernel` computes, and what the reference does.
fn both(kernel: Kernel, weights: &TernaryMatrix, tokens: &[Int8Row], threads: &Threads) -> (Vec<f32>, Vec<f32>) {
    let columns = tokens[0].codes.len();
    let rows = weights.codes.len() / columns;
    let matrix = PackedMatrix::pack(&weights.codes, rows, columns, weights.scale).unwrap();
    let (codes, scales): (Vec<&[i8]>, Vec<f32>) = tokens.iter().map(|token| (&token.codes[..], token.scale)).unzip();
    let mut activations = Int8Rows::new();
    // Padding is to be overwritten.
    activations.set_codes(&vec![77; tokens.len() * (columns + 64)], columns + 64, &scales).unwrap();
    activations.set_codes(&codes.concat(), columns, &scales).unwrap();
    let mut out = vec![f32::NAN; tokens.len() * rows];
    multiply_with(kernel, &[&matrix], &activations, &mut [&mut out], threads).unwrap();
    (out, forward(tokens, weights).unwrap())
}

#[track_caller]
fn assert_equal(kernel: Kernel, weights: &TernaryMatrix, tokens: &[Int8Row], threads: &Threads) {
    let (out, expected) = both(kernel, weights, tokens, threads);
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let columns = tokens[0].codes.len();
    assert!(bits(&out) == bits(&expected), "{kernel}: {} x {columns}, {} tokens", weights.codes.len() / columns, tokens.len());
}

#[test]
fn every_shape_gives_the_bits_of_the_reference() {
    let threads = Threads::new(3).unwrap();
    let mut random = Random::derive(1, "shapes", 0);
    for columns in COLUMNS {
        for rows in ROWS {
            let weights = TernaryMatrix { codes: ternary(&mut random, rows * columns), scale: 0.0123 };
            for tokens in TOKENS.into_iter().filter(|tokens| tokens * rows * columns <= 10_000_000) {
                let token = |random: &mut Random| Int8Row { codes: int8(random, columns), scale: 1.0 + random.unit() as f32 };
                let tokens: Vec<Int8Row> = (0..tokens).map(|_| token(&mut random)).collect();
                Kernel::usable().for_each(|kernel| assert_equal(kernel, &weights, &tokens, &threads));
            }
        }
    }
}

#[test]
fn extreme_codes_and_weights_of_one_sign_are_exact() {
    let threads = Threads::new(1).unwrap();
    for (columns, num_tokens) in [(5460, 1), (5460, 17), (100, 3)] {
        for (weight, code) in [-1, 0, 1].into_iter().flat_map(|weight| [-128, 127].map(|code| (weight, code))) {
            let weights = TernaryMatrix { codes: vec![weight; 17 * columns], scale: 1.0 };
            let tokens = vec![Int8Row { codes: vec![code; columns], scale: 1.0 }; num_tokens];
            Kernel::usable().for_each(|kernel| assert_equal(kernel, &weights, &tokens, &threads));
        }
    }
}

#[test]
fn the_widest_matrix_is_summed_without_overflow() {
    let columns = crate::ternary::matrix::MAX_COLUMNS;
    let threads = Threads::new(1).unwrap();
    for (weight, code) in [(-1, -128), (1, -128), (1, 127)] {
        let weights = TernaryMatrix { codes: vec![weight; columns], scale: 1.0 };
        for num_tokens in [1, 16] {
            let tokens = vec![Int8Row { codes: vec![code; columns], scale: 1.0 }; num_tokens];
            Kernel::usable().for_each(|kernel| assert_equal(kernel, &weights, &tokens, &threads));
        }
    }
}

#[test]
fn scales_of_any_size_give_the_bits_of_the_reference() {
    let threads = Threads::new(2).unwrap();
    let mut random = Random::derive(1, "scales", 0);
    let magnitudes = [1e-38, 1e-20, 1e-5, 0.37, 1.0, 12.7e6, 1e20, 3e38];
    for scale in magnitudes {
        let weights = TernaryMatrix { codes: ternary(&mut random, 33 * 40), scale };
        let mut token = |scale: f32| Int8Row { codes: int8(&mut random, 40), scale };
        let tokens: Vec<Int8Row> = magnitudes.into_iter().flat_map(|scale| [scale, scale * 0.7, scale * 0.51]).map(&mut token).collect();
        Kernel::usable().for_each(|kernel| assert_equal(kernel, &weights, &tokens, &threads));
        Kernel::usable().for_each(|kernel| assert_equal(kernel, &weights, &tokens[..2], &threads));
    }
}

#[test]
fn several_matrices_in_one_section_give_what_each_gives_alone() {
    let threads = Threads::new(3).unwrap();
    let mut random = Random::derive(1, "several", 0);
    let columns = 100;
    let matrices: Vec<PackedMatrix> = [40, 0, 1, 17, 64]
        .iter()
        .map(|&rows| PackedMatrix::pack(&ternary(&mut random, rows * columns), rows, columns, rows as f32).unwrap())
        .collect();
    for (kernel, tokens) in Kernel::usable().flat_map(|kernel| [1, 5, 40].map(|tokens| (kernel, tokens))) {
        let mut activations = Int8Rows::new();
        activations.set_codes(&int8(&mut random, tokens * columns), columns, &vec![3.0; tokens]).unwrap();
        let mut together: Vec<Vec<f32>> = matrices.iter().map(|matrix| vec![f32::NAN; tokens * matrix.rows()]).collect();
        let mut alone = together.clone();
        let mut outs: Vec<&mut [f32]> = together.iter_mut().map(|out| &mut out[..]).collect();
        multiply_with(kernel, &matrices.iter().collect::<Vec<_>>(), &activations, &mut outs, &threads).unwrap();
        for (matrix, out) in matrices.iter().zip(&mut alone) {
            multiply_with(kernel, &[matrix], &activations, &mut [out], &threads).unwrap();
        }
        assert_eq!(together, alone, "{kernel}");
    }
}

#[test]
fn codes_and_scales_of_activations_are_those_of_the_reference() {
    let mut random = Random::derive(1, "activations", 0);
    let threads = Threads::new(2).unwrap();
    let sizes = [1e-30, 1e-7, 0.01, 1.0, 300.0, 1e30, 3e38];
    let mut quantized = Int8Rows::new();
    for columns in COLUMNS {
        let mut rows: Vec<f32> = (0..20 * columns).map(|_| (random.unit() - 0.5) as f32).collect();
        for (row, size) in rows.chunks_mut(columns).zip(sizes.into_iter().cycle()) {
            row.iter_mut().for_each(|activation| *activation *= size);
        }
        rows[..columns].fill(-0.0);
        // Ties: with 127 as the largest, the scale is 1.
        rows[columns..2 * columns].iter_mut().enumerate().for_each(|(at, activation)| *activation = (at % 255) as f32 / 2.0 - 63.5);
        rows[columns] = 127.0;
        for (kernel, threads) in Kernel::usable().flat_map(|kernel| [(kernel, None), (kernel, Some(&threads))]) {
            quantized.quantize_with(kernel, &rows, columns, threads).unwrap();
            assert_eq!((quantized.tokens(), quantized.columns()), (20, columns));
            for (token, row) in rows.chunks(columns).enumerate() {
                let expected = int8_absmax(row).unwrap();
                assert_eq!(quantized.codes(token), expected.codes, "{kernel}, token {token}");
                assert_eq!(quantized.scales()[token].to_bits(), expected.scale.to_bits(), "{kernel}, token {token}");
                assert_eq!(quantized.sums()[token], expected.codes.iter().map(|&code| i32::from(code)).sum::<i32>());
            }
        }
    }
}

#[test]
fn activations_that_are_not_finite_are_named_and_leave_no_token() {
    for kernel in Kernel::usable() {
        for (bad, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
            let mut rows = vec![1.0; 3 * 40];
            rows[40 + 33] = bad;
            let mut quantized = Int8Rows::new();
            let error = quantized.quantize_with(kernel, &rows, 40, None).unwrap_err();
            assert!(error.to_string().starts_with(&format!("token 1: activation 33 is {name}")), "{error}");
            assert_eq!(quantized.tokens(), 0);
        }
    }
}

#[test]
fn a_kernel_has_a_name_and_an_unknown_name_is_refused() {
    for kernel in Kernel::usable() {
        assert_eq!(kernel.to_string().parse::<Kernel>().unwrap().to_string(), kernel.to_string());
    }
    let error = "sse".parse::<Kernel>().unwrap_err();
    assert!(error.to_string().contains("this processor has no kernel 'sse', only portable"), "{error}");
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let threads = Threads::new(1).unwrap();
    let matrix = PackedMatrix::pack(&[1; 6], 2, 3, 1.0).unwrap();
    let mut activations = Int8Rows::new();
    activations.set_codes(&[1; 4], 2, &[1.0; 2]).unwrap();
    assert!(matrix.multiply(&activations, &mut [0.0; 4], &threads).unwrap_err().to_string().contains("2 columns meet a matrix of 3"));
    activations.set_codes(&[1; 6], 3, &[1.0; 2]).unwrap();
    assert!(matrix.multiply(&activations, &mut [0.0; 5], &threads).unwrap_err().to_string().contains("5 outputs are not the 2 x 2"));
    assert!(activations.set_codes(&[1; 6], 3, &[1.0; 3]).is_err());
    assert!(activations.quantize(&[1.0; 5], 3).unwrap_err().to_string().contains("5 activations are no whole rows of 3"));
    assert!(activations.quantize(&[], 0).is_err());
    activations.quantize(&[], 3).unwrap();
    matrix.multiply(&activations, &mut [], &threads).unwrap();
}
