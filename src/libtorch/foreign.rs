//! The C interface of `csrc/`, and how its messages become errors.

use crate::{Error, Result};
use std::ffi::{CStr, c_char, c_void};
use tch::Tensor;
use torch_sys::C_tensor;

/// Something that C++ made and only C++ looks into.
#[repr(C)]
pub(super) struct Opaque {
    _nothing: [u8; 0],
}

unsafe extern "C" {
    pub(super) fn bitnet_fused_adamw(
        parameters: *const *const C_tensor,
        gradients: *const *const C_tensor,
        means: *const *const C_tensor,
        mean_squares: *const *const C_tensor,
        steps: *const *const C_tensor,
        count: i64,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        epsilon: f64,
        is_lost: *const C_tensor,
    ) -> *mut c_char;
    pub(super) fn bitnet_flush_denormals() -> *mut c_char;
    pub(super) fn bitnet_drop_gradients(parameters: *const *const C_tensor, count: i64) -> *mut c_char;
    pub(super) fn bitnet_quantize_activations(input: *const C_tensor, to_bfloat16: bool, out: *mut *mut C_tensor) -> *mut c_char;
    pub(super) fn bitnet_quantize_weights(weight: *const C_tensor, to_bfloat16: bool, out: *mut *mut C_tensor) -> *mut c_char;
    pub(super) fn bitnet_norm_and_quantize(
        input: *const C_tensor,
        weight: *const C_tensor,
        eps: f64,
        to_bfloat16: bool,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(super) fn bitnet_squared_relu_gate(gate: *const C_tensor, up: *const C_tensor, out: *mut *mut C_tensor) -> *mut c_char;
    pub(super) fn bitnet_matmul_name() -> *const c_char;
    pub(super) fn bitnet_version(tensor: *const C_tensor, version: *mut i64) -> *mut c_char;
    pub(super) fn bitnet_pack_weight(weight: *const C_tensor, to_bfloat16: bool, out: *mut *mut C_tensor) -> *mut c_char;
    pub(super) fn bitnet_causal_attention(
        query: *const C_tensor,
        key: *const C_tensor,
        value: *const C_tensor,
        cosines: *const C_tensor,
        sines: *const C_tensor,
        head_dim: i64,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(super) fn bitnet_head_cross_entropy(
        hidden: *const C_tensor,
        weight: *const C_tensor,
        targets: *const C_tensor,
        ignored: i64,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(super) fn bitnet_bit_linear(
        input: *const C_tensor,
        up: *const C_tensor,
        norm: *const C_tensor,
        eps: f64,
        residual: *const C_tensor,
        weights: *const *const C_tensor,
        packed: *const *const C_tensor,
        count: i64,
        to_bfloat16: bool,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(super) fn bitnet_checkpointed(
        input: *const C_tensor,
        compute: unsafe extern "C" fn(state: *mut c_void, input: *const C_tensor, out: *mut *mut C_tensor) -> *mut c_char,
        drop: unsafe extern "C" fn(state: *mut c_void),
        state: *mut c_void,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(super) fn bitnet_clip_gradients(gradients: *const *const C_tensor, count: i64, max_norm: f64, norm: *mut f64) -> *mut c_char;
    pub(super) fn bitnet_clip_gradients_late(
        gradients: *const *const C_tensor,
        count: i64,
        max_norm: f64,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(super) fn bitnet_late(numbers: *const C_tensor, out: *mut *mut Opaque) -> *mut c_char;
    pub(super) fn bitnet_late_read(late: *const Opaque, numbers: *mut f64, count: i64) -> *mut c_char;
    pub(super) fn bitnet_late_drop(late: *mut Opaque);
    pub(super) fn bitnet_send_to_cuda(tensor: *const C_tensor, index: i64, out: *mut *mut C_tensor) -> *mut c_char;
    pub(super) fn bitnet_cuda_peak_memory(index: i64, of_tensors: *mut i64, held: *mut i64) -> *mut c_char;
    pub(super) fn bitnet_seed(seed: u64) -> *mut c_char;
    pub(super) fn bitnet_normal(shape: *const i64, dimensions: i64, deviation: f64, out: *mut *mut C_tensor) -> *mut c_char;
    pub(super) fn bitnet_profile_start() -> *mut c_char;
    pub(super) fn bitnet_profile_stop(
        into: *mut c_void,
        take: unsafe extern "C" fn(into: *mut c_void, name: *const c_char, nanoseconds: u64, calls: u64),
    ) -> *mut c_char;
}

/// Turns what a function of `csrc/` returned into a result, and frees it.
pub(super) fn check(message: *mut c_char) -> Result<()> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null message is a C string that strdup made for us alone.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    unsafe { libc::free(message.cast()) };
    Err(Error::ours(text.lines().next().unwrap_or_default()).context("libtorch"))
}

/// The tensor that a function of `csrc/` made.
pub(super) fn made(call: impl FnOnce(*mut *mut C_tensor) -> *mut c_char) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    check(call(&mut out))?;
    // SAFETY: without a message, `out` is a tensor that was made for us alone.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// The pointers of `tensors`, valid while these live.
pub(super) fn pointers<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<*const C_tensor> {
    tensors.into_iter().map(Tensor::as_ptr).collect()
}
