//! The profiler counts the operators that run between start and stop, and the time of each without that of those it calls.
#![cfg(feature = "torch")]

use bitnet::libtorch::fused::quantize_weights;
use bitnet::libtorch::profile::{self, OperatorTime};
use std::time::{Duration, Instant};
use tch::{Device, Kind, Tensor};

fn calls(operators: &[OperatorTime], name: &str) -> u64 {
    operators.iter().find(|operator| operator.name == name).map_or(0, |operator| operator.calls)
}

/// One test, since there is one profiler a process.
#[test]
fn a_profile_counts_the_operators_of_forward_and_backward() {
    assert!(profile::stop().is_err(), "nothing was begun");
    let matrix = || Tensor::randn([64, 64], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let (left, right) = (matrix(), matrix());
    let _ = left.matmul(&right);

    profile::start().unwrap();
    assert!(profile::start().is_err(), "one at a time");
    let begin = Instant::now();
    for _ in 0..3 {
        left.matmul(&quantize_weights(&right, Kind::Float)).sum(Kind::Float).backward();
    }
    let elapsed = begin.elapsed();
    let operators = profile::stop().unwrap();
    let _ = left.matmul(&right);

    // aten::mm also runs twice in each backward pass.
    let counts = ["aten::matmul", "aten::mm", "MmBackward0"].map(|name| calls(&operators, name));
    assert_eq!(counts, [3, 9, 3], "{operators:?}");
    assert!(operators.iter().any(|operator| operator.name.contains("QuantizeWeights") && operator.calls == 3), "{operators:?}");
    assert!(operators.is_sorted_by(|one, other| one.own_time >= other.own_time));
    // Times without callees never add up to more than has passed.
    let sum: Duration = operators.iter().map(|operator| operator.own_time).sum();
    assert!(elapsed >= sum, "{elapsed:?} passed, {sum:?} were counted");

    profile::start().unwrap();
    assert_eq!(profile::stop().unwrap(), [], "a new profile begins at nothing");
}
