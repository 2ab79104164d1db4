//! The fused operations of the CPU against the plain tensor operations that they stand for: values, gradients, awkward shapes and
//! numbers, and what they refuse.
#![cfg(feature = "torch")]

mod recorded;

use bitnet::config::{ActivationQuantizer, WeightQuantizer};
use bitnet::libtorch::{caught, fused};
use bitnet::model::{RmsNorm, quantize_activations, quantize_weights};
use bitnet::random::Random;
use recorded::{assert_near, bits, floats};
use std::cell::Cell;
use tch::nn::{Module, VarStore};
use tch::{Device, Kind, Tensor, no_grad};

const KINDS: [Kind; 2] = [Kind::Float, Kind::BFloat16];
const SIZES: [i64; 6] = [1, 3, 5, 64, 257, 1000];
const ROWS: [i64; 3] = [1, 2, 37];
const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

/// About normal numbers, the same in every run: libtorch has one random state a process, a test has a thread of its own.
fn random(shape: &[i64], kind: Kind) -> Tensor {
    thread_local!(static NUM_CALLS: Cell<u64> = const { Cell::new(0) });
    let mut random = Random::derive(5, "fused", NUM_CALLS.replace(NUM_CALLS.get() + 1));
    let count = shape.iter().product::<i64>();
    let numbers: Vec<f32> = (0..count).map(|_| ((0..4).map(|_| random.unit()).sum::<f64>() * 5.0 - 10.0) as f32).collect();
    Tensor::from_slice(&numbers).view(shape).to_kind(kind)
}

/// Inputs of every size and type, one with a row of zeros, one whose rows are not contiguous, one with three axes.
fn inputs(size: i64, kind: Kind) -> Vec<Tensor> {
    let mut all: Vec<Tensor> = ROWS.iter().map(|&rows| random(&[rows, size], kind)).collect();
    let mut with_zeros = random(&[3, size], kind);
    let _ = with_zeros.select(0, 1).zero_();
    all.extend([std::mem::replace(&mut with_zeros, Tensor::new()), random(&[size, 4], kind).transpose(0, 1), random(&[2, 3, size], kind)]);
    all.push(random(&[4, 2 * size], kind).slice(1, 0, 2 * size, 2));
    all
}

/// The output of `operation` and the gradients of `leaves` for the upstream gradient `arriving`.
fn run(leaves: &[&Tensor], arriving: &Tensor, operation: impl Fn(&[Tensor]) -> Tensor) -> (Tensor, Vec<Tensor>) {
    let leaves: Vec<Tensor> = leaves.iter().map(|leaf| leaf.detach().set_requires_grad(true)).collect();
    let output = operation(&leaves);
    output.backward_with(arriving);
    (output.detach(), leaves.iter().map(Tensor::grad).collect())
}

/// `backward` with an upstream gradient in the type of the output.
trait BackwardWith {
    fn backward_with(&self, arriving: &Tensor);
}

impl BackwardWith for Tensor {
    fn backward_with(&self, arriving: &Tensor) {
        let rounded = arriving.to_kind(self.kind()).to_kind(Kind::Float);
        (self.to_kind(Kind::Float) * rounded).sum(Kind::Float).backward();
    }
}

/// Every pair of input and output types, sizes and layouts.
fn each_case(mut check: impl FnMut(&Tensor, Kind)) {
    for size in SIZES {
        for input in KINDS.iter().flat_map(|&kind| inputs(size, kind)) {
            KINDS.iter().for_each(|&out| check(&input, out));
        }
    }
}

#[test]
fn activations_are_quantized_exactly_as_by_tensor_operations() {
    each_case(|input, kind| {
        let arriving = random(&input.size(), Kind::Float);
        let (fused, fused_gradients) = run(&[input], &arriving, |leaves| fused::quantize_activations(&leaves[0], kind));
        let plain = |leaves: &[Tensor]| quantize_activations(&leaves[0], ActivationQuantizer::Int8Absmax).to_kind(kind);
        let (plain, plain_gradients) = run(&[input], &arriving, plain);
        assert_eq!((fused.kind(), floats(&fused)), (kind, floats(&plain)), "{:?}", input.size());
        assert_eq!(fused_gradients[0].kind(), input.kind());
        assert_eq!(bits(&fused_gradients[0]), bits(&plain_gradients[0]), "{:?}", input.size());
    });
}

#[test]
fn weights_are_quantized_as_by_tensor_operations() {
    for (size, kind) in SIZES.into_iter().flat_map(|size| KINDS.map(|kind| (size, kind))) {
        for weight in inputs(size, Kind::Float) {
            let arriving = random(&weight.size(), Kind::Float);
            let (fused, fused_gradients) = run(&[&weight], &arriving, |leaves| fused::quantize_weights(&leaves[0], kind));
            let plain = |leaves: &[Tensor]| quantize_weights(&leaves[0], WeightQuantizer::TernaryAbsmean).to_kind(kind);
            let (plain, plain_gradients) = run(&[&weight], &arriving, plain);
            // The scale differs by the order of summation, in bfloat16 rarely by a rounding; the codes are the same but for numbers at a tie.
            let is_other = fused.sign().not_equal_tensor(&plain.sign());
            let from_a_tie = (weight.abs() / weight.abs().mean(Kind::Double) - 0.5).abs();
            assert!(!bool::try_from(is_other.logical_and(&from_a_tie.gt(1e-6)).any()).unwrap(), "{:?}", weight.size());
            let limit = if kind == Kind::Float { 4e-7 } else { 4e-3 };
            assert_near(
                &fused.masked_fill(&is_other, 0.0),
                &plain.masked_fill(&is_other, 0.0),
                limit,
                &format!("{:?} {kind:?}", weight.size()),
            );
            assert_eq!(bits(&fused_gradients[0]), bits(&plain_gradients[0]), "{:?}", weight.size());
        }
    }
}

fn norm(size: i64, eps: f64) -> RmsNorm {
    let store = VarStore::new(Device::Cpu);
    let norm = RmsNorm::new(store.root() / "norm", size as usize, eps);
    no_grad(|| norm.weight().shallow_clone().copy_(&(random(&[size], Kind::Float) * 0.1 + 1.0)));
    norm
}

/// One step between two codes of `values`' rows, relative to the largest value of all.
const ONE_CODE: f64 = 1.0 / 126.0;

#[test]
fn norm_and_quantization_give_the_codes_of_tensor_operations() {
    let (mut num_codes, mut num_other) = (0, 0);
    each_case(|input, kind| {
        let norm = norm(input.size()[input.dim() - 1], 1e-5);
        let fused = fused::norm_and_quantize(input, norm.weight(), norm.eps(), kind);
        let plain = quantize_activations(&norm.forward(input), ActivationQuantizer::Int8Absmax).to_kind(kind);
        assert_eq!(fused.kind(), kind);
        // A number at a tie may take the code beside it, as its norm is summed in another order.
        assert_near(&fused, &plain, ONE_CODE, &format!("{:?} {kind:?}", input.size()));
        let limit = if kind == Kind::Float { 1e-5 } else { 8e-3 };
        let is_other = (&fused - &plain).abs().to_kind(Kind::Float).gt_tensor(&(plain.abs() * limit + 1e-9).to_kind(Kind::Float));
        num_codes += fused.numel();
        num_other += is_other.sum(Kind::Int64).int64_value(&[]);
    });
    assert!(num_other * 20_000 < num_codes as i64, "{num_other} of {num_codes} codes differ");
}

#[test]
fn norm_and_quantization_have_the_gradients_of_tensor_operations() {
    each_case(|input, kind| {
        let norm = norm(input.size()[input.dim() - 1], 1e-5);
        let arriving = random(&input.size(), Kind::Float);
        let fused = |leaves: &[Tensor]| fused::norm_and_quantize(&leaves[0], &leaves[1], 1e-5, kind);
        let plain = |leaves: &[Tensor]| {
            let x = leaves[0].to_kind(Kind::Float);
            let normed = &x * (x.square().mean_dim(-1, true, Kind::Float) + 1e-5).rsqrt() * &leaves[1];
            quantize_activations(&normed, ActivationQuantizer::Int8Absmax).to_kind(kind)
        };
        let (_, fused) = run(&[input, norm.weight()], &arriving, fused);
        let (_, plain) = run(&[input, norm.weight()], &arriving, plain);
        let what = format!("{:?} {:?} {kind:?}", input.size(), input.kind());
        assert_eq!((fused[0].kind(), fused[1].kind()), (input.kind(), Kind::Float), "{what}");
        // Two nearly equal numbers are subtracted, and for a single feature next to nothing is left: errors are a share of what they were.
        let x = input.to_kind(Kind::Float);
        let inverse = (x.square().mean_dim(-1, true, Kind::Float) + 1e-5).rsqrt();
        let whole = (&arriving * norm.weight() * inverse).abs().max().double_value(&[]);
        let difference = (&fused[0] - &plain[0]).abs().max().double_value(&[]);
        let limit = if input.kind() == Kind::Float { 5e-6 } else { 8e-3 };
        assert!(difference <= limit * whole, "{what}: {difference:.2e} of {whole:.2e}");
        assert_near(&fused[1], &plain[1], 5e-6, &what);
    });
}

#[test]
fn the_squared_relu_gate_is_that_of_tensor_operations() {
    for size in SIZES {
        for kind in KINDS {
            for gate in inputs(size, kind) {
                let up = random(&gate.size(), kind);
                let arriving = random(&gate.size(), Kind::Float);
                let (fused, fused_gradients) = run(&[&gate, &up], &arriving, |leaves| fused::squared_relu_gate(&leaves[0], &leaves[1]));
                let float = |leaf: &Tensor| leaf.to_kind(Kind::Float);
                let plain = |leaves: &[Tensor]| (float(&leaves[0]).relu().square() * float(&leaves[1])).to_kind(kind);
                let (plain, plain_gradients) = run(&[&gate, &up], &arriving, plain);
                assert_eq!(fused.kind(), kind);
                // Of three factors, two are multiplied first: another rounding in the last bit.
                let limit = if kind == Kind::Float { 3e-7 } else { 4e-3 };
                assert_near(&fused, &plain, limit, "value");
                assert_near(&fused_gradients[0], &plain_gradients[0], limit, "gate's gradient");
                assert_near(&fused_gradients[1], &plain_gradients[1], limit, "up's gradient");
            }
        }
    }
}

/// Every fused operation on large inputs, with all gradients.
fn everything(num_threads: i32) -> Vec<Vec<u32>> {
    tch::set_num_threads(num_threads);
    // libtorch has one random state a process, which other tests use at the same time.
    let number = |index: i64, step: f64| (Tensor::arange(index, CPU) * step).sin() * 3.0;
    let rows = |step| number(1001 * 333, step).view([1001, 333]);
    let (input, weight, arriving) = (rows(0.37), number(333, 1.3), rows(0.71));
    let mut results = Vec::new();
    for kind in KINDS {
        let input = input.to_kind(kind);
        let mut add = |(output, gradients): (Tensor, Vec<Tensor>)| {
            results.push(bits(&output));
            results.extend(gradients.iter().map(bits));
        };
        add(run(&[&input], &arriving, |leaves| fused::quantize_activations(&leaves[0], kind)));
        add(run(&[&input.to_kind(Kind::Float)], &arriving, |leaves| fused::quantize_weights(&leaves[0], kind)));
        add(run(&[&input, &weight], &arriving, |leaves| fused::norm_and_quantize(&leaves[0], &leaves[1], 1e-5, kind)));
        add(run(&[&input, &(&input * 0.7)], &arriving, |leaves| fused::squared_relu_gate(&leaves[0], &leaves[1])));
    }
    tch::set_num_threads(1);
    results
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let one = everything(1);
    for num_threads in [2, 3, 5] {
        assert!(everything(num_threads) == one, "{num_threads} threads give other bits than one");
    }
}

#[test]
fn nan_and_infinity_never_become_numbers() {
    for (bad, size) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().flat_map(|bad| SIZES.map(|size| (bad, size))) {
        for (place, kind, out) in
            [0, size / 2, size - 1].into_iter().flat_map(|p| KINDS.into_iter().flat_map(move |k| KINDS.map(|o| (p, k, o))))
        {
            let input = Tensor::ones([2, size], CPU);
            let _ = input.get(1).get(place).fill_(f64::from(bad));
            let ones = Tensor::ones([size], CPU);
            let what = format!("{bad} at {place} of {size}, {kind:?} to {out:?}");
            let rows = input.to_kind(kind);
            for output in [fused::quantize_activations(&rows, out), fused::norm_and_quantize(&rows, &ones, 1e-5, out)] {
                assert!(floats(&output.get(0)).iter().all(|value| value.is_finite()), "{what}: the other row is not touched");
                assert!(floats(&output.get(1)).iter().any(|value| !value.is_finite()), "{what}");
            }
            assert!(floats(&fused::quantize_weights(&input, out)).iter().any(|value| !value.is_finite()), "{what}");
        }
    }
}

#[test]
fn a_gate_passes_nan_on() {
    for kind in KINDS {
        let (nan, one) = (Tensor::full([40], f64::NAN, (kind, Device::Cpu)), Tensor::ones([40], (kind, Device::Cpu)));
        for (gate, up) in [(&nan, &one), (&one, &nan)] {
            let output = floats(&fused::squared_relu_gate(gate, up));
            assert!(output.iter().all(|value| value.is_nan()), "{kind:?}: {output:?}");
        }
        let (_, gradients) = run(&[&nan, &one], &Tensor::ones([40], CPU), |leaves| fused::squared_relu_gate(&leaves[0], &leaves[1]));
        for (name, gradient) in ["gate", "up"].iter().zip(gradients) {
            assert!(floats(&gradient).iter().all(|value| value.is_nan()), "{kind:?} {name}: {:?}", floats(&gradient));
        }
    }
}

#[test]
fn shapes_and_types_that_do_not_fit_are_errors_and_read_no_foreign_memory() {
    let ones = |shape: &[i64], kind| Tensor::ones(shape, (kind, Device::Cpu));
    let rows = ones(&[2, 8], Kind::Float);
    for weight in [
        ones(&[7], Kind::Float),
        ones(&[9], Kind::Float),
        ones(&[1, 8], Kind::Float),
        ones(&[8], Kind::BFloat16),
        ones(&[16], Kind::Float).slice(0, 0, 16, 2),
    ] {
        assert!(caught(|| Ok(fused::norm_and_quantize(&rows, &weight, 1e-5, Kind::Float))).is_err(), "{weight:?}");
    }
    for up in [ones(&[8], Kind::Float), ones(&[2, 7], Kind::Float), ones(&[2, 8], Kind::BFloat16)] {
        assert!(caught(|| Ok(fused::squared_relu_gate(&rows, &up))).is_err(), "{up:?}");
    }
    for wrong in [ones(&[], Kind::Float), ones(&[3, 0], Kind::Float), ones(&[2, 3], Kind::Int64)] {
        assert!(caught(|| Ok(fused::quantize_activations(&wrong, Kind::Float))).is_err(), "{wrong:?}");
        assert!(caught(|| Ok(fused::quantize_weights(&wrong, Kind::Float))).is_err(), "{wrong:?}");
    }
    assert!(caught(|| Ok(fused::quantize_weights(&ones(&[2, 3], Kind::BFloat16), Kind::Float))).is_err());
    assert_eq!(fused::quantize_activations(&ones(&[0, 3], Kind::Float), Kind::Float).size(), [0, 3]);
}
