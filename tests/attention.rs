//! Attention as one operation in tiles against libtorch's operations in float32: values, gradients, odd sizes, groups, causality.
#![cfg(feature = "torch")]

mod recorded;

use bitnet::libtorch::{caught, fused, integer_products};
use bitnet::model::RotaryTables;
use bitnet::random::Random;
use recorded::{assert_near, bits};
use std::cell::Cell;
use tch::{Device, Kind, Tensor};

/// False, said aloud, where this processor has no kernels.
fn has_kernels() -> bool {
    let name = integer_products();
    if name.is_none() {
        println!("skipped: this processor has no instructions for products in tiles");
    }
    name.is_some()
}

fn random(shape: &[i64]) -> Tensor {
    thread_local!(static NUM_CALLS: Cell<u64> = const { Cell::new(0) });
    let mut random = Random::derive(5, "attention", NUM_CALLS.replace(NUM_CALLS.get() + 1));
    let count = shape.iter().product::<i64>();
    let numbers: Vec<f32> = (0..count).map(|_| ((0..4).map(|_| random.unit()).sum::<f64>() * 3.0 - 6.0) as f32).collect();
    Tensor::from_slice(&numbers).view(shape).to_kind(Kind::BFloat16)
}

/// Batch, sequence, heads, heads of keys and values, features of a head.
type Sizes = (i64, i64, i64, i64, i64);
const SIZES: [Sizes; 8] = [
    (1, 1, 1, 1, 2),
    (2, 15, 4, 2, 32),
    (1, 32, 2, 1, 64),
    (3, 33, 3, 3, 10),
    (1, 64, 4, 4, 32),
    (2, 100, 2, 1, 100),
    (1, 257, 1, 1, 48),
    (1, 70, 8, 2, 64),
];

fn inputs((batch, sequence, heads, shared, size): Sizes) -> [Tensor; 3] {
    [heads, shared, shared].map(|heads| random(&[batch, sequence, heads * size]))
}

fn tables((_, sequence, _, _, size): Sizes) -> RotaryTables {
    RotaryTables::new(size as usize, sequence as usize + 3, 10000.0, Device::Cpu)
}

fn in_tiles(sizes: Sizes, [query, key, value]: [&Tensor; 3]) -> Tensor {
    let tables = tables(sizes);
    let (cosines, sines) = tables.tables();
    fused::causal_attention(query, key, value, cosines, sines, sizes.4)
}

fn in_float32(sizes: Sizes, inputs: [&Tensor; 3]) -> Tensor {
    let (_, sequence, heads, shared, size) = sizes;
    let [query, key, value] = inputs.map(|input| input.to_kind(Kind::Float).unflatten(-1, [-1, size]).transpose(1, 2));
    let tables = tables(sizes);
    let query = tables.rotate(&query, 0);
    let [key, value] = [tables.rotate(&key, 0), value].map(|shared_heads| shared_heads.repeat_interleave_self_int(heads / shared, 1, None));
    let scores = query.matmul(&key.transpose(-1, -2)) / (size as f64).sqrt();
    let hidden = Tensor::ones([sequence, sequence], (Kind::Bool, Device::Cpu)).triu(1);
    let mixed = scores.masked_fill(&hidden, f64::NEG_INFINITY).softmax(-1, Kind::Float).matmul(&value);
    mixed.transpose(1, 2).flatten(2, 3)
}

/// Output, and gradients of query, key and value.
fn run(inputs: &[Tensor; 3], arriving: &Tensor, attention: impl Fn([&Tensor; 3]) -> Tensor) -> Vec<Tensor> {
    let leaves = inputs.each_ref().map(|input| input.detach().set_requires_grad(true));
    let output = attention(leaves.each_ref());
    (output.to_kind(Kind::Float) * arriving.to_kind(Kind::Float)).sum(Kind::Float).backward();
    [output.detach()].into_iter().chain(leaves.iter().map(Tensor::grad)).collect()
}

#[test]
fn outputs_and_gradients_are_those_of_float32_to_the_precision_of_bfloat16() {
    if !has_kernels() {
        return;
    }
    for sizes in SIZES {
        let inputs = inputs(sizes);
        let arriving = random(&inputs[0].size());
        let found = run(&inputs, &arriving, |inputs| in_tiles(sizes, inputs));
        let expected = run(&inputs, &arriving, |inputs| in_float32(sizes, inputs));
        for (name, (found, expected)) in ["output", "query", "key", "value"].iter().zip(found.iter().zip(&expected)) {
            assert_eq!(found.kind(), Kind::BFloat16);
            if sizes.1 == 1 && ["query", "key"].contains(name) {
                continue; // one position attends to itself whatever it asks: both are zero but for rounding
            }
            assert_near(found, expected, 2e-2, &format!("{sizes:?} {name}"));
        }
    }
}

#[test]
fn a_later_position_changes_nothing_before_it_to_the_last_bit() {
    if !has_kernels() {
        return;
    }
    let sizes = (1, 70, 2, 1, 32);
    let inputs = inputs(sizes);
    let before = in_tiles(sizes, inputs.each_ref());
    for position in [1, 31, 32, 40, 69] {
        let changed = inputs.each_ref().map(|input| {
            let copy = input.copy();
            let _ = copy.narrow(1, position, 70 - position).fill_(3.0);
            copy
        });
        let after = in_tiles(sizes, changed.each_ref());
        assert_eq!(bits(&before.narrow(1, 0, position)), bits(&after.narrow(1, 0, position)), "{position}");
        assert_ne!(bits(&before.narrow(1, position, 1)), bits(&after.narrow(1, position, 1)), "{position}");
    }
}

#[test]
fn numbers_that_are_not_finite_stay_so_and_do_not_travel_back() {
    if !has_kernels() {
        return;
    }
    let sizes = (1, 40, 1, 1, 32);
    for (which, value) in [(0, f64::NAN), (1, f64::NAN), (2, f64::NAN), (0, f64::INFINITY)] {
        let inputs = inputs(sizes);
        let _ = inputs[which].narrow(1, 35, 1).fill_(value);
        let output = in_tiles(sizes, inputs.each_ref());
        let is_finite = |first, count| bool::try_from(output.narrow(1, first, count).isfinite().all()).unwrap();
        // A weight of zero times a value that is not finite is not finite: so far as a tile of 32 reaches.
        let before = if which == 2 { 32 } else { 35 };
        assert!(is_finite(0, before) && !is_finite(35, 1), "{which} {value}");
    }
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    if !has_kernels() {
        return;
    }
    let sizes = (1, 8, 4, 2, 16);
    let [query, key, value] = inputs(sizes);
    let refused = |query: &Tensor, key: &Tensor, value: &Tensor| caught(|| Ok(in_tiles(sizes, [query, key, value]))).is_err();
    assert!(!refused(&query, &key, &value));
    assert!(refused(&query.to_kind(Kind::Float), &key, &value));
    assert!(refused(&query, &random(&[1, 9, 32]), &value));
    assert!(refused(&query, &random(&[1, 8, 48]), &random(&[1, 8, 48])));
    assert!(refused(&random(&[1, 20, 64]), &random(&[1, 20, 32]), &random(&[1, 20, 32])));
    assert!(refused(&query.select(0, 0), &key, &value));
}
