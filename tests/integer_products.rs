//! BitLinear on integer codes against the plain tensor operations that it stands for: values, gradients, odd shapes, all sources.
#![cfg(feature = "torch")]

mod recorded;

use bitnet::config::{ActivationQuantizer, WeightQuantizer};
use bitnet::libtorch::{AdamwState, AdamwStep, PackedWeight, Rows, adamw_step, bit_linear, integer_products};
use bitnet::model::{quantize_activations, quantize_weights};
use bitnet::random::Random;
use bitnet::ternary::activations::int8_absmax;
use bitnet::ternary::weights::ternary_absmean;
use recorded::{distance, floats};
use std::cell::Cell;
use tch::{Device, Kind, Tensor, no_grad};

/// False, said aloud, where this processor has no kernels.
fn has_kernels() -> bool {
    let name = integer_products();
    if name.is_none() {
        println!("skipped: this processor has no instructions for integer products");
    }
    name.is_some()
}

/// About normal numbers, the same in every run: libtorch has one random state a process, a test has a thread of its own.
fn random(shape: &[i64], kind: Kind) -> Tensor {
    thread_local!(static NUM_CALLS: Cell<u64> = const { Cell::new(0) });
    let mut random = Random::derive(5, "integer products", NUM_CALLS.replace(NUM_CALLS.get() + 1));
    let count = shape.iter().product::<i64>();
    let numbers: Vec<f32> = (0..count).map(|_| ((0..4).map(|_| random.unit()).sum::<f64>() * 5.0 - 10.0) as f32).collect();
    Tensor::from_slice(&numbers).view(shape).to_kind(kind)
}

/// One layer group: what goes in, in the order input, up, norm, residual, weights.
struct Case {
    leaves: Vec<Tensor>,
    has_up: bool,
    has_norm: bool,
    has_residual: bool,
    kind: Kind,
}

const EPS: f64 = 1e-5;

impl Case {
    fn parts<'a>(&self, leaves: &'a [Tensor]) -> (&'a Tensor, Option<&'a Tensor>, Option<&'a Tensor>, Option<&'a Tensor>, Vec<&'a Tensor>) {
        let mut rest = leaves.iter();
        let input = rest.next().unwrap();
        let up = if self.has_up { rest.next() } else { None };
        let norm = if self.has_norm { rest.next() } else { None };
        let residual = if self.has_residual { rest.next() } else { None };
        (input, up, norm, residual, rest.collect())
    }

    fn fused(&self, leaves: &[Tensor]) -> Vec<Tensor> {
        let (input, up, norm, residual, weights) = self.parts(leaves);
        let rows = up.map_or(Rows::Plain(input), |up| Rows::SquaredReluGate(input, up));
        let packed: Vec<PackedWeight> = weights.iter().map(|weight| PackedWeight::new(weight, self.kind)).collect();
        let norm = norm.map(|norm| (norm, EPS));
        let both: Vec<_> = weights.into_iter().zip(&packed).collect();
        match both[..] {
            [one] => bit_linear(rows, norm, residual, [one], self.kind).into(),
            [one, two] => bit_linear(rows, norm, residual, [one, two], self.kind).into(),
            [one, two, three] => bit_linear(rows, norm, residual, [one, two, three], self.kind).into(),
            _ => panic!("one to three weights"),
        }
    }

    /// What the quantizers of activations see, in float32.
    fn normed(&self, leaves: &[Tensor]) -> Tensor {
        let (input, up, norm, ..) = self.parts(leaves);
        let mut rows = input.to_kind(Kind::Float);
        if let Some(up) = up {
            rows = rows.relu().square() * up.to_kind(Kind::Float);
        }
        if let Some(norm) = norm {
            rows = &rows * (rows.square().mean_dim(-1, true, Kind::Float) + EPS).rsqrt() * norm;
        }
        rows
    }

    /// From a code to the next in the row where it is most.
    fn largest_step(&self) -> f64 {
        self.normed(&self.leaves).abs().max().double_value(&[]) / 127.0
    }

    /// The same in float64 but for the quantizers, which see what the fused operation sees.
    fn plain(&self, leaves: &[Tensor]) -> Vec<Tensor> {
        let (_, _, _, residual, weights) = self.parts(leaves);
        let rows = quantize_activations(&self.normed(leaves), ActivationQuantizer::Int8Absmax).to_kind(Kind::Double);
        let product = |weight: &Tensor| {
            let weight = quantize_weights(weight, WeightQuantizer::TernaryAbsmean).to_kind(Kind::Double);
            let product = rows.linear(&weight, None::<&Tensor>);
            residual.map_or_else(|| product.shallow_clone(), |residual| &product + residual)
        };
        weights.into_iter().map(product).collect()
    }
}

/// Outputs, and gradients of all leaves for fixed upstream gradients.
fn run(leaves: &[Tensor], arriving: &[Tensor], operation: impl Fn(&[Tensor]) -> Vec<Tensor>) -> (Vec<Tensor>, Vec<Tensor>) {
    let leaves: Vec<Tensor> = leaves.iter().map(|leaf| leaf.detach().set_requires_grad(true)).collect();
    let outputs = operation(&leaves);
    let products = outputs.iter().zip(arriving).map(|(output, arriving)| (output.to_kind(Kind::Double) * arriving).sum(Kind::Double));
    products.reduce(|sum, product| sum + product).unwrap().backward();
    (outputs.iter().map(Tensor::detach).collect(), leaves.iter().map(Tensor::grad).collect())
}

fn cases() -> Vec<Case> {
    let shapes: [(&[i64], &[i64]); 7] = [
        (&[1, 3], &[1]),
        (&[3, 5], &[7]),
        (&[2, 33, 65], &[31, 33]),
        (&[37, 64], &[32, 16, 16]),
        (&[130, 100], &[64]),
        (&[4200, 96], &[40]),
        (&[65, 5460], &[34]),
    ];
    let mut cases = Vec::new();
    for (rows, outputs) in shapes {
        for (has_up, has_norm, input_kind) in [
            (false, false, Kind::Float),
            (false, true, Kind::Float),
            (false, true, Kind::BFloat16),
            (true, true, Kind::BFloat16),
            (true, false, Kind::Float),
        ] {
            for kind in [Kind::Float, Kind::BFloat16] {
                let has_residual = outputs.len() == 1 && has_up;
                let size = *rows.last().unwrap();
                let mut leaves = vec![random(rows, input_kind)];
                if has_up {
                    leaves.push(random(rows, input_kind));
                }
                if has_norm {
                    leaves.push(random(&[size], Kind::Float) * 0.1 + 1.0);
                }
                if has_residual {
                    leaves.push(random(&[&rows[..rows.len() - 1], outputs].concat(), Kind::Float));
                }
                leaves.extend(outputs.iter().map(|&outputs| random(&[outputs, size], Kind::Float)));
                cases.push(Case { leaves, has_up, has_norm, has_residual, kind });
            }
        }
    }
    cases
}

#[test]
fn outputs_and_gradients_are_those_of_tensor_operations() {
    if !has_kernels() {
        return;
    }
    for case in cases() {
        let (_, _, _, _, weights) = case.parts(&case.leaves);
        let rows = case.leaves[0].size();
        let out = |weight: &Tensor| [&rows[..rows.len() - 1], &[weight.size()[0]]].concat();
        let arriving: Vec<Tensor> = weights.iter().map(|weight| random(&out(weight), Kind::BFloat16).to_kind(Kind::Double)).collect();
        let (fused, fused_gradients) = run(&case.leaves, &arriving, |leaves| case.fused(leaves));
        let (plain, plain_gradients) = run(&case.leaves, &arriving, |leaves| case.plain(leaves));
        let what = format!("{rows:?} {:?} up {} norm {} {:?}", case.leaves[0].kind(), case.has_up, case.has_norm, case.kind);
        // A norm is summed in another order: a number at a tie may take the code beside it, and so changes what it is multiplied by.
        let step = if case.has_norm { case.largest_step() } else { 0.0 };
        let largest = |tensor: &Tensor| tensor.abs().max().double_value(&[]).max(1e-30);
        for ((found, expected), weight) in fused.iter().zip(&plain).zip(&weights) {
            let moved = step * ternary_absmean(&floats(weight)).map_or(0.0, |matrix| f64::from(matrix.scale)) / largest(expected);
            let limit = moved + if found.kind() == Kind::BFloat16 { 4e-3 } else { 1e-6 };
            let distance = distance(found, expected);
            assert!(distance < limit, "{what}: output {distance:.1e}, {limit:.1e} allowed");
        }
        // Of the gradients only those of the weights, which come last, are sums over codes.
        let num_others = case.leaves.len() - weights.len();
        for (index, (found, expected)) in fused_gradients.iter().zip(&plain_gradients).enumerate() {
            let moved = index.checked_sub(num_others).map_or(0.0, |weight| step * largest(&arriving[weight]) / largest(expected));
            let limit = moved + if case.kind == Kind::BFloat16 || found.kind() == Kind::BFloat16 { 1.2e-2 } else { 1e-5 };
            let distance = distance(found, expected);
            assert!(distance < limit, "{what}: gradient {index} {distance:.1e}, {limit:.1e} allowed");
        }
    }
}

#[test]
fn codes_that_are_kept_are_known_to_be_old_once_the_weight_was_written() {
    if !has_kernels() {
        return;
    }
    let weight = random(&[4, 8], Kind::Float);
    let state = AdamwState { mean: weight.zeros_like(), mean_square: weight.zeros_like(), step: Tensor::from(0f32) };
    let numbers = AdamwStep { learning_rate: 0.1, beta1: 0.9, beta2: 0.95, weight_decay: 0.0, epsilon: 1e-8 };
    let kept = PackedWeight::new(&weight, Kind::BFloat16);
    assert!(kept.is_of(&weight));
    adamw_step(&[&weight], &[&weight.ones_like()], &[&state], numbers, None).unwrap();
    assert!(!kept.is_of(&weight));
    let kept = PackedWeight::new(&weight, Kind::BFloat16);
    no_grad(|| weight.shallow_clone().copy_(&random(&[4, 8], Kind::Float)));
    assert!(!kept.is_of(&weight));
}

/// Rows of 16 activations: random ones of many magnitudes, and by turns zeros, subnormal numbers and ties between two codes.
fn awkward_rows(count: usize, size: usize) -> Vec<f32> {
    let mut random = Random::derive(6, "awkward rows", 0);
    let mut rows = Vec::with_capacity(count * size);
    for row in 0..count {
        let magnitude = 10f64.powf(random.unit() * 12.0 - 6.0);
        for place in 0..size {
            let value = (random.unit() * 2.0 - 1.0) * magnitude;
            rows.push(match row % 8 {
                0 => 0.0,
                1 => value as f32 * 1e-38,
                2 if place == 0 => 127.0,
                2 => (random.unit() * 250.0 - 125.0).floor() as f32 + 0.5,
                _ => value as f32,
            });
        }
    }
    rows
}

/// The codes that were multiplied, read from products with single weights: the weight's only code that is not 0 is a 1.
fn codes_of(rows: &Tensor, size: usize) -> Vec<f32> {
    let weight = Tensor::eye(size as i64, (Kind::Float, Device::Cpu));
    let packed = PackedWeight::new(&weight, Kind::Float);
    let [products] = bit_linear(Rows::Plain(rows), None, None, [(&weight, &packed)], Kind::Float);
    let scale = ternary_absmean(&Vec::<f32>::try_from(weight.flatten(0, -1)).unwrap()).unwrap().scale;
    Vec::try_from((products / f64::from(scale)).flatten(0, -1)).unwrap()
}

#[test]
fn the_codes_of_a_million_rows_are_those_of_the_reference() {
    const SIZE: usize = 16;
    if !has_kernels() {
        return;
    }
    for (seed_rows, kind) in [(900_000, Kind::Float), (100_000, Kind::BFloat16)] {
        let rows = Tensor::from_slice(&awkward_rows(seed_rows, SIZE)).view([-1, SIZE as i64]).to_kind(kind);
        let found = codes_of(&rows, SIZE);
        let rows: Vec<f32> = Vec::try_from(rows.to_kind(Kind::Float).flatten(0, -1)).unwrap();
        for (row, found) in rows.chunks(SIZE).zip(found.chunks(SIZE)) {
            let expected = int8_absmax(row).unwrap();
            // Each product is its code over the row's scale, to a rounding or two: the nearest whole number is the code.
            let codes: Vec<i8> = found.iter().map(|value| (value * expected.scale).round() as i8).collect();
            assert_eq!(codes, expected.codes, "{row:?}");
        }
    }
}

#[test]
fn the_codes_of_weights_are_those_of_the_reference() {
    const SIZE: usize = 16;
    if !has_kernels() {
        return;
    }
    let input = Tensor::eye(SIZE as i64, (Kind::Float, Device::Cpu));
    for weights in awkward_rows(64_000, SIZE).chunks(32 * SIZE) {
        let weight = Tensor::from_slice(weights).view([-1, SIZE as i64]);
        let packed = PackedWeight::new(&weight, Kind::Float);
        let [products] = bit_linear(Rows::Plain(&input), None, None, [(&weight, &packed)], Kind::Float);
        let expected = ternary_absmean(weights).unwrap();
        let found: Vec<f32> = Vec::try_from((products.transpose(0, 1).contiguous() / f64::from(expected.scale)).flatten(0, -1)).unwrap();
        assert_eq!(found.iter().map(|value| value.round() as i8).collect::<Vec<_>>(), expected.codes);
    }
}
