//! The head and its loss in blocks against libtorch's operations: values, gradients, odd vocabularies, ignored targets.
#![cfg(feature = "torch")]

mod recorded;

use bitnet::libtorch::{caught, fused, integer_products};
use bitnet::random::Random;
use recorded::assert_near;
use tch::{Kind, Reduction, Tensor};

const IGNORED: i64 = -100;

/// False, said aloud, where this processor has no kernels.
fn has_kernels() -> bool {
    let name = integer_products();
    if name.is_none() {
        println!("skipped: this processor has no instructions for products in tiles");
    }
    name.is_some()
}

fn random(name: &str, shape: &[i64], scale: f64) -> Tensor {
    let mut random = Random::derive(5, name, shape.iter().sum::<i64>() as u64);
    let count = shape.iter().product::<i64>();
    let numbers: Vec<f32> = (0..count).map(|_| (((0..4).map(|_| random.unit()).sum::<f64>() - 2.0) * scale) as f32).collect();
    Tensor::from_slice(&numbers).view(shape).to_kind(Kind::BFloat16).to_kind(Kind::Float)
}

/// Targets of a vocabulary, every fifth ignored.
fn targets(shape: &[i64], vocabulary: i64) -> Tensor {
    let mut random = Random::derive(5, "targets", vocabulary as u64);
    let ids: Vec<i64> = (0..shape.iter().product::<i64>())
        .map(|index| if index % 5 == 3 { IGNORED } else { (random.unit() * vocabulary as f64) as i64 })
        .collect();
    Tensor::from_slice(&ids).view(shape)
}

fn plain(hidden: &Tensor, weight: &Tensor, targets: &Tensor) -> Tensor {
    let logits = hidden.to_kind(Kind::Double).matmul(&weight.to_kind(Kind::Double).transpose(0, 1));
    logits.flatten(0, -2).cross_entropy_loss(&targets.flatten(0, -1), None::<&Tensor>, Reduction::Mean, IGNORED, 0.0)
}

/// The loss, and the gradients of `share` times it.
fn run(hidden: &Tensor, weight: &Tensor, share: f64, loss: impl Fn(&Tensor, &Tensor) -> Tensor) -> (f64, Tensor, Tensor) {
    let (hidden, weight) = (hidden.detach().set_requires_grad(true), weight.detach().set_requires_grad(true));
    let loss = loss(&hidden, &weight);
    (&loss * share).backward();
    (loss.double_value(&[]), hidden.grad(), weight.grad())
}

#[test]
fn losses_and_gradients_are_those_of_all_logits_at_once() {
    if !has_kernels() {
        return;
    }
    // The last has more logits than exist at once, with rows and a vocabulary that fill no whole tile.
    for (rows, size, vocabulary) in
        [(&[3i64][..], 5, 2), (&[2, 33], 64, 32), (&[65], 40, 100), (&[2, 70], 32, 4097), (&[1, 1203], 32, 40_001)]
    {
        let hidden = random("hidden", &[rows, &[size]].concat(), 3.0);
        let weight = random("weight", &[vocabulary, size], 1.0);
        let targets = targets(rows, vocabulary);
        for share in [1.0, 0.25] {
            let fused = run(&hidden, &weight, share, |hidden, weight| fused::head_cross_entropy(hidden, weight, &targets, IGNORED));
            let plain = run(&hidden, &weight, share, |hidden, weight| plain(hidden, weight, &targets));
            let what = format!("{rows:?} {size} {vocabulary}");
            assert!((fused.0 / plain.0 - 1.0).abs() < 1e-5, "{what}: loss {} and {}", fused.0, plain.0);
            assert_near(&fused.1, &plain.1, 1e-2, &format!("{what} hidden"));
            assert_near(&fused.2, &plain.2, 1e-2, &format!("{what} weight"));
        }
    }
}

#[test]
fn large_logits_do_not_overflow_and_nan_is_not_lost() {
    if !has_kernels() {
        return;
    }
    let (hidden, weight) = (random("hidden", &[40, 64], 100.0), random("weight", &[70, 64], 100.0));
    let targets = targets(&[40], 70);
    let found = fused::head_cross_entropy(&hidden, &weight, &targets, IGNORED).double_value(&[]);
    let expected = plain(&hidden, &weight, &targets).double_value(&[]);
    assert!((found / expected - 1.0).abs() < 1e-5, "{found} and {expected}");
    for spoilt in [&hidden, &weight] {
        let _ = spoilt.narrow(0, 0, 1).fill_(f64::NAN);
        let (loss, ..) = run(&hidden, &weight, 1.0, |hidden, weight| fused::head_cross_entropy(hidden, weight, &targets, IGNORED));
        assert!(loss.is_nan(), "{loss}");
        let _ = spoilt.narrow(0, 0, 1).fill_(1.0);
    }
}

#[test]
fn targets_outside_the_vocabulary_and_shapes_that_do_not_fit_are_refused() {
    if !has_kernels() {
        return;
    }
    let (hidden, weight) = (random("hidden", &[4, 8], 1.0), random("weight", &[6, 8], 1.0));
    let refused = |hidden: &Tensor, weight: &Tensor, targets: &[i64]| {
        caught(|| Ok(fused::head_cross_entropy(hidden, weight, &Tensor::from_slice(targets), IGNORED))).is_err()
    };
    assert!(!refused(&hidden, &weight, &[0, 5, IGNORED, 1]));
    assert!(refused(&hidden, &weight, &[0, 6, 1, 1]));
    assert!(refused(&hidden, &weight, &[0, -1, 1, 1]));
    assert!(refused(&hidden, &weight, &[0, 1, 1]));
    assert!(refused(&hidden, &random("weight", &[6, 9], 1.0), &[0, 1, 1, 1]));
}
