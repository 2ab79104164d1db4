//! Tensors recorded under tests/reference, as libtorch's; and how far two tensors are apart. What is compared is each test's business.
#![allow(dead_code, reason = "each test uses a part of it")]

use bitnet::libtorch::load_tensors;
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Kind, Tensor};

/// A recorded file.
pub struct Recorded(BTreeMap<String, Tensor>);

impl Recorded {
    /// The file `tests/reference/<name>.safetensors`.
    pub fn open(name: &str) -> Self {
        Self(load_tensors(&Path::new("tests/reference").join(format!("{name}.safetensors"))).unwrap())
    }

    /// The tensor of that name, a copy of its own.
    pub fn get(&self, name: &str) -> Tensor {
        self.0.get(name).unwrap_or_else(|| panic!("{name} is not recorded")).copy()
    }

    /// Tensors whose names begin with `prefix`, by the rest of their names.
    pub fn below(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let rest = |(name, tensor): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_string(), tensor.copy()));
        self.0.iter().filter_map(rest).collect()
    }
}

/// The largest difference, relative to the largest magnitude of `expected`; NaN if there is one.
pub fn distance(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.size(), expected.size());
    let (found, expected) = (found.detach().to_kind(Kind::Double), expected.detach().to_kind(Kind::Double));
    let largest = expected.abs().max().double_value(&[]).max(1e-30);
    (found - expected).abs().max().double_value(&[]) / largest
}

/// All numbers, row by row, as float32.
pub fn floats(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.detach().to_kind(Kind::Float).contiguous().flatten(0, -1)).unwrap()
}

/// The bits of all numbers as float32: equal where the tensors are, NaN included.
pub fn bits(tensor: &Tensor) -> Vec<u32> {
    floats(tensor).into_iter().map(f32::to_bits).collect()
}

/// Fails unless every number of `found` lies within `limit` of `expected`, relative to its largest.
#[track_caller]
pub fn assert_near(found: &Tensor, expected: &Tensor, limit: f64, what: &str) {
    let distance = distance(found, expected);
    assert!(distance <= limit, "{what}: {distance:.2e} away, {limit:.0e} allowed");
}

/// `tensor` with every number changed by about ten roundings of float32, by the next random numbers of this thread.
pub fn shaken(tensor: &Tensor) -> Tensor {
    tensor.detach() * (bitnet::libtorch::random::normal(&tensor.size(), 6e-7) + 1.0)
}
