//! Every vector type computes what plain sums in float64 do, for all widths, and a result does not depend on its neighbours.

use super::level::{Level, Work};
use super::simd::{LANES, Simd};
use super::{Bf16, Int16Rows, Memory, Number, Query, attend, int8_products, products, rms_norm, silu_gate, squared_relu_gate};
use crate::random::Random;

/// Numbers between -1 and 1 that bfloat16 has exactly.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::derive(seed, "dense", 0);
    (0..count).map(|_| (random.below(257) as f32 - 128.0) / 128.0).collect()
}

fn plain(left: &[f32], right: &[f32]) -> f64 {
    left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
}

#[track_caller]
fn assert_near(computed: f32, expected: f64, scale: f64, case: impl std::fmt::Debug) {
    assert!((f64::from(computed) - expected).abs() <= 2e-6 * scale.max(1.0), "{case:?}: {computed} is not {expected}");
}

#[test]
fn products_equal_plain_sums_for_every_type_and_shape() {
    for level in Level::usable() {
        for (columns, rows, tokens) in
            (1..70).map(|columns| (columns, columns % 9 + 1, columns % 11 + 1)).chain([(100, 3, 5), (5460, 6, 2)])
        {
            let (matrix, activations) = (numbers(rows * columns, 1), numbers(tokens * columns, 2));
            let codes: Vec<i8> = matrix.iter().map(|number| (number * 127.0) as i8).collect();
            let of_codes: Vec<f32> = codes.iter().map(|code| f32::from(*code)).collect();
            let narrow: Vec<Bf16> = matrix.iter().map(|number| Bf16::from_f32(*number)).collect();
            let mut outs = [(); 3].map(|()| vec![f32::NAN; rows * tokens]);
            products(level, &matrix, &activations, columns, &mut outs[0]);
            products(level, &narrow, &activations, columns, &mut outs[1]);
            products(level, &codes, &activations, columns, &mut outs[2]);
            for (out, matrix) in outs.iter().zip([&matrix, &matrix, &of_codes]) {
                for (index, computed) in out.iter().enumerate() {
                    let (row, token) = (&matrix[index / tokens * columns..], &activations[index % tokens * columns..][..columns]);
                    assert_near(*computed, plain(row, token), columns as f64, (level, columns, rows, tokens, index));
                }
            }
            let alone = &mut vec![f32::NAN; rows];
            products(level, &matrix, &activations[(tokens - 1) * columns..], columns, alone);
            let beside: Vec<f32> = outs[0].iter().skip(tokens - 1).step_by(tokens).copied().collect();
            assert_eq!(*alone, beside, "a token beside others");
        }
    }
}

/// Codes from -127 to 127, scales of rows, and activations of `tokens`.
fn codes_and_activations(columns: usize, rows: usize, tokens: usize) -> (Vec<i8>, Vec<f32>, Vec<f32>) {
    let codes = numbers(rows * columns, 6).iter().map(|number| (number * 127.0) as i8).collect();
    (codes, numbers(rows, 7), numbers(tokens * columns, 8))
}

#[test]
fn products_of_codes_are_as_exact_as_the_rounding_of_the_activations() {
    let shapes = (1..70).map(|columns| (columns, columns % 9 + 1, columns % 11 + 1));
    for (columns, rows, tokens) in shapes.chain([(100, 3, 5), (5460, 6, 2), (40_000, 1, 1)]) {
        let (codes, scales, activations) = codes_and_activations(columns, rows, tokens);
        let (mut whole, mut first) = (Int16Rows::default(), None);
        whole.set(&activations, columns);
        for level in Level::usable() {
            let mut out = vec![f32::NAN; rows * tokens];
            int8_products(level, &codes, &scales, &whole, &mut out);
            for (index, computed) in out.iter().enumerate() {
                let (row, token) = (index / tokens, &activations[index % tokens * columns..][..columns]);
                let of_codes: Vec<f32> = codes[row * columns..][..columns].iter().map(|code| f32::from(*code)).collect();
                let expected = f64::from(scales[row]) * plain(&of_codes, token);
                // Each activation is off by half a step, 1 / 65,534 of the largest or, in 40,000 columns, 1 / 13,400.
                let step = if columns > 8000 { 1.0 / 6_700.0 } else { 1.0 / 32_767.0 };
                let bound = 0.5 * step * of_codes.iter().map(|code| f64::from(code.abs())).sum::<f64>() + 1e-4;
                assert!((f64::from(*computed) - expected).abs() < bound, "{level:?} {columns} {index}: {computed} is not {expected}");
            }
            let mut alone = vec![f32::NAN; rows];
            let mut last = Int16Rows::default();
            last.set(&activations[(tokens - 1) * columns..], columns);
            int8_products(level, &codes, &scales, &last, &mut alone);
            assert_eq!(alone, out.iter().skip(tokens - 1).step_by(tokens).copied().collect::<Vec<_>>(), "a token beside others");
            assert_eq!(&out, first.get_or_insert_with(|| out.clone()), "{level:?} and the plainest");
        }
    }
}

#[test]
fn the_largest_products_of_codes_do_not_overflow() {
    for columns in [64, 4096, 8192, 8448, 8449, 100_000] {
        let mut whole = Int16Rows::default();
        whole.set(&vec![-3.0; columns], columns);
        for level in Level::usable() {
            let mut out = [f32::NAN];
            int8_products(level, &vec![-127; columns], &[1.0], &whole, &mut out);
            assert_near(out[0] / (381 * columns) as f32, 1.0, 1.0, (level, columns));
        }
    }
}

#[test]
fn products_of_codes_say_when_an_activation_is_no_number() {
    let mut whole = Int16Rows::default();
    whole.set(&[1.0, f32::NAN, 1.0, f32::INFINITY, 0.0, 0.0, 2.0, 1.0], 2);
    for level in Level::usable() {
        let mut out = [0.0; 4];
        int8_products(level, &[1, 2], &[0.5], &whole, &mut out);
        assert!(out[0].is_nan() && out[1].is_nan() && out[2] == 0.0 && (out[3] - 2.0).abs() < 1e-4, "{out:?}");
    }
}

#[test]
fn norms_and_gates_are_those_of_float64() {
    for level in Level::usable() {
        for length in (1..70).chain([100, 5460]) {
            let [row, weight, up] = [9, 10, 11].map(|seed| numbers(length, seed));
            let mut normed = row.clone();
            rms_norm(level, &mut normed, &weight, 1e-5);
            let norm = (plain(&row, &row) / length as f64 + 1e-5).sqrt();
            let gate: Vec<f32> = row.iter().map(|number| number * 30.0).collect();
            let [mut silu, mut squared] = [gate.clone(), gate.clone()];
            silu_gate(level, &mut silu, &up);
            squared_relu_gate(level, &mut squared, &up);
            for index in 0..length {
                let (x, up) = (f64::from(gate[index]), f64::from(up[index]));
                let case = (level, length, index);
                assert_near(normed[index], f64::from(row[index]) / norm * f64::from(weight[index]), 1.0, case);
                assert_near(silu[index], x / (1.0 + (-x).exp()) * up, x.abs(), case);
                assert_near(squared[index], x.max(0.0).powi(2) * up, x * x, case);
            }
        }
    }
}

#[test]
fn gates_keep_what_is_no_number() {
    for level in Level::usable() {
        for gate in [silu_gate, squared_relu_gate] {
            for odd in [f32::NAN, f32::INFINITY] {
                let mut numbers = [odd; 20];
                gate(level, &mut numbers, &[1.0; 20]);
                assert!(numbers.iter().all(|number| !number.is_finite()), "{level:?}");
            }
            let mut numbers = [-200.0, -1e30, 0.0, -0.0];
            gate(level, &mut numbers, &[1.0; 4]);
            assert!(numbers.iter().all(|number| number.abs() < 1e-6), "{level:?}: {numbers:?}");
        }
    }
}

/// A memory of `positions` rows whose keys come in parts `widths`.
struct Case {
    keys: [Vec<f32>; 2],
    values: Vec<f32>,
    queries: [Vec<f32>; 2],
    widths: [usize; 2],
    width: usize,
    positions: usize,
}

impl Case {
    fn new(widths: [usize; 2], width: usize, positions: usize, num_queries: usize) -> Self {
        Self {
            keys: widths.map(|part| numbers(part * positions, 3)),
            values: numbers(width * positions, 4),
            queries: widths.map(|part| numbers(part * num_queries, 5).iter().map(|number| number * 3.0).collect()),
            widths,
            width,
            positions,
        }
    }

    /// The last of `count` queries sees everything, the one before it a position less, and so on.
    fn queries(&self, count: usize) -> Vec<Query<'_>> {
        let part = |part: usize, index: usize| &self.queries[part][index * self.widths[part]..][..self.widths[part]];
        let query = |index: usize| Query {
            parts: [part(0, index), part(1, index)],
            positions: (self.positions + index + 1).saturating_sub(count).max(1),
            out: index * self.width,
        };
        (0..count).map(query).collect()
    }

    fn expected(&self, query: &Query<'_>) -> Vec<f64> {
        let score = |position: usize| -> f64 {
            (0..2).map(|part| plain(&self.keys[part][position * self.widths[part]..], query.parts[part])).sum::<f64>() * 0.3
        };
        let scores: Vec<f64> = (0..query.positions).map(score).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
        let mixed = |column: usize| -> f64 {
            let values = self.values.iter().skip(column).step_by(self.width);
            scores.iter().zip(values).map(|(score, value)| (score - largest).exp() / total * f64::from(*value)).sum()
        };
        (0..self.width).map(mixed).collect()
    }
}

#[test]
fn attention_equals_the_softmax_in_float64() {
    for level in Level::usable() {
        for (widths, width, positions, num_queries) in [
            ([16, 0], 16, 1, 1),
            ([100, 0], 100, 33, 5),
            ([128, 0], 128, 200, 64),
            ([7, 0], 7, 65, 3),
            ([64, 32], 64, 97, 6),
            ([48, 9], 48, 31, 2),
            ([80, 0], 81, 64, 4),
        ] {
            let case = Case::new(widths, width, positions, num_queries);
            let queries = case.queries(num_queries);
            let narrow = |numbers: &Vec<f32>| -> Vec<Bf16> { numbers.iter().map(|number| Bf16::from_f32(*number)).collect() };
            let (keys, values) = (case.keys.each_ref().map(narrow), narrow(&case.values));
            let [mut out, mut of_narrow] = [(); 2].map(|()| vec![f32::NAN; num_queries * width]);
            attend(level, Memory { keys: case.keys.each_ref().map(Vec::as_slice), values: &case.values }, &queries, 0.3, width, &mut out);
            attend(level, Memory { keys: keys.each_ref().map(Vec::as_slice), values: &values }, &queries, 0.3, width, &mut of_narrow);
            assert_eq!(out, of_narrow, "bfloat16 holds these numbers exactly");
            for query in &queries {
                for (computed, expected) in out[query.out..].iter().zip(case.expected(query)) {
                    assert_near(*computed, expected, 1.0, (level, widths, positions, query.positions));
                }
            }
            let mut alone = vec![f32::NAN; width];
            let last = Query { out: 0, ..queries[num_queries / 2] };
            attend(level, Memory { keys: case.keys.each_ref().map(Vec::as_slice), values: &case.values }, &[last], 0.3, width, &mut alone);
            assert_eq!(alone, out[num_queries / 2 * width..][..width], "a query beside others");
        }
    }
}

#[test]
fn scores_far_apart_leave_one_value() {
    let keys = [-300.0, 0.0, 300.0];
    for level in Level::usable() {
        let mut out = [f32::NAN];
        let query = Query { parts: [&[1.0], &[]], positions: 3, out: 0 };
        attend(level, Memory { keys: [&keys, &[]], values: &[1.0, 2.0, 4.0] }, &[query; 1], 1.0, 1, &mut out);
        assert_eq!(out, [4.0], "{level:?}");
    }
}

struct Exponentials([f32; LANES]);

impl Work for Exponentials {
    type Output = [f32; LANES];

    fn run<S: Simd>(self, simd: S) -> [f32; LANES] {
        simd.numbers(simd.exponential(simd.load(&self.0)))
    }
}

#[test]
fn exponentials_are_those_of_the_library() {
    for level in Level::usable() {
        for start in 0..1000 {
            let numbers: [f32; LANES] = std::array::from_fn(|lane| -(start as f32 * 0.08 + lane as f32 * 0.005));
            for (number, computed) in numbers.iter().zip(level.run(Exponentials(numbers))) {
                let expected = f64::from(*number).exp();
                assert!((f64::from(computed) / expected - 1.0).abs() < 2e-7, "{level:?}: e^{number} is not {computed}");
            }
        }
    }
}

#[test]
fn a_level_has_a_name_and_an_unknown_name_is_refused() {
    for level in Level::usable() {
        assert_eq!(level.to_string().parse::<Level>().unwrap(), level);
    }
    let error = "sse".parse::<Level>().unwrap_err();
    assert!(error.to_string().contains("this processor has no vectors 'sse', only portable"), "{error}");
}
