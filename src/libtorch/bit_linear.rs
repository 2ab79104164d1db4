//! The whole of BitLinear as one differentiable operation on integer codes, where the processor has instructions for it. Which layers take
//! it is the business of `model`; its maths is that of [`super::fused`] and a matrix product, without rounding in between.

use super::caught::raised;
use super::foreign::{bitnet_bit_linear, bitnet_matmul_name, bitnet_pack_weight, bitnet_version, check};
use crate::Result;
use std::ffi::CStr;
use std::ptr::{null, null_mut};
use tch::{Kind, Tensor};
use torch_sys::C_tensor;

/// A ternary weight, laid out for integer products: good until the weight changes.
#[derive(Debug)]
pub struct PackedWeight {
    tensors: [Tensor; 3], // codes, values for the backward pass, scale
    version: i64,
}

/// The rows that are quantized.
#[derive(Debug, Clone, Copy)]
pub enum Rows<'a> {
    /// As they are, `[.., size]`.
    Plain(&'a Tensor),
    /// `relu(gate)² · up`, both `[.., size]`.
    SquaredReluGate(&'a Tensor, &'a Tensor),
}

/// A norm's weight, float32 `[size]`, and its epsilon.
pub type Norm<'a> = (&'a Tensor, f64);

/// What computes integer products here, `amx` or `avx512`; none on processors without such instructions.
pub fn integer_products() -> Option<&'static str> {
    // SAFETY: the function takes nothing and returns null or a C string that lives as long as the program.
    let name = unsafe { bitnet_matmul_name() };
    if name.is_null() { None } else { unsafe { CStr::from_ptr(name) }.to_str().ok() }
}

impl PackedWeight {
    /// The ternary absmean codes of `weight`, float32 `[out, in]` on the CPU; `kind`, float32 or bfloat16, is that of the backward pass.
    pub fn new(weight: &Tensor, kind: Kind) -> Self {
        let mut out = [null_mut(); 3];
        // SAFETY: the tensor outlives the call, and there is place for three pointers.
        raised(check(unsafe { bitnet_pack_weight(weight.as_ptr(), kind == Kind::BFloat16, out.as_mut_ptr()) }));
        // SAFETY: without a message, all three are tensors that were made for us alone.
        Self { tensors: out.map(|tensor| unsafe { Tensor::from_ptr(tensor) }), version: version(weight) }
    }

    /// The same codes, in the same memory.
    pub fn shallow_clone(&self) -> Self {
        Self { tensors: self.tensors.each_ref().map(Tensor::shallow_clone), version: self.version }
    }

    /// Whether `weight` has not been written since.
    pub fn is_of(&self, weight: &Tensor) -> bool {
        self.version == version(weight)
    }
}

/// `rows`, normed if there is a norm, as int8 codes, times each of at most three ternary weights: `[.., out]` of `kind`, or float32 and
/// added to `residual` where there is one.
pub fn bit_linear<const COUNT: usize>(
    rows: Rows<'_>,
    norm: Option<Norm<'_>>,
    residual: Option<&Tensor>,
    weights: [(&Tensor, &PackedWeight); COUNT],
    kind: Kind,
) -> [Tensor; COUNT] {
    let (input, up) = match rows {
        Rows::Plain(input) => (input, null()),
        Rows::SquaredReluGate(gate, up) => (gate, up.as_ptr()),
    };
    let (norm, eps) = norm.map_or((null(), 0.0), |(weight, eps)| (weight.as_ptr(), eps));
    let masters = weights.map(|(weight, _)| weight.as_ptr());
    let packed: Vec<*const C_tensor> = weights.iter().flat_map(|(_, packed)| packed.tensors.iter().map(Tensor::as_ptr)).collect();
    let residual = residual.map_or(null(), Tensor::as_ptr);
    let mut out = [null_mut(); COUNT];
    // SAFETY: every tensor outlives the call; `masters` and `out` have COUNT places, `packed` three times as many.
    raised(check(unsafe {
        bitnet_bit_linear(
            input.as_ptr(),
            up,
            norm,
            eps,
            residual,
            masters.as_ptr(),
            packed.as_ptr(),
            COUNT as i64,
            kind == Kind::BFloat16,
            out.as_mut_ptr(),
        )
    }));
    // SAFETY: without a message, all are tensors that were made for us alone.
    out.map(|tensor| unsafe { Tensor::from_ptr(tensor) })
}

/// How often a tensor was written, as libtorch counts.
fn version(tensor: &Tensor) -> i64 {
    let mut version = 0;
    // SAFETY: the tensor outlives the call, and `version` is ours.
    let outcome: Result<()> = check(unsafe { bitnet_version(tensor.as_ptr(), &mut version) });
    raised(outcome.map(|()| version))
}
