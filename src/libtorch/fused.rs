//! Differentiable operations in one pass over memory, on the CPU; `model::fast` chooses between them and plain tensor operations.
//! Tensors elsewhere, of another type than they say, without a row or of shapes that do not fit each other raise, as in tch's operators.

use super::caught::raised;
use super::foreign::{
    bitnet_causal_attention, bitnet_head_cross_entropy, bitnet_norm_and_quantize, bitnet_quantize_activations, bitnet_quantize_weights,
    bitnet_squared_relu_gate, made,
};
use tch::{Kind, Tensor};

/// `[.., features]` to its 8-bit absmax values in `kind` (float32 or bfloat16); the gradient passes straight.
pub fn quantize_activations(input: &Tensor, kind: Kind) -> Tensor {
    // SAFETY: the tensor outlives the call.
    raised(made(|out| unsafe { bitnet_quantize_activations(input.as_ptr(), kind == Kind::BFloat16, out) }))
}

/// A float32 matrix to its ternary absmean values in `kind` (float32 or bfloat16); the gradient passes straight.
pub fn quantize_weights(weight: &Tensor, kind: Kind) -> Tensor {
    // SAFETY: the tensor outlives the call.
    raised(made(|out| unsafe { bitnet_quantize_weights(weight.as_ptr(), kind == Kind::BFloat16, out) }))
}

/// RMS norm of `[.., features]` with float32 `weight` `[features]`, then [`quantize_activations`].
pub fn norm_and_quantize(input: &Tensor, weight: &Tensor, eps: f64, kind: Kind) -> Tensor {
    // SAFETY: both tensors outlive the call.
    raised(made(|out| unsafe { bitnet_norm_and_quantize(input.as_ptr(), weight.as_ptr(), eps, kind == Kind::BFloat16, out) }))
}

/// Causal attention with rotary positions over heads of `head_dim` features, bfloat16 `[batch, sequence, heads · head_dim]`, of as many heads
/// as `query` has; those of `key` and `value` may be fewer. The tables are float32 `[positions, head_dim]`. Only where
/// [`super::integer_products`] names a processor.
pub fn causal_attention(query: &Tensor, key: &Tensor, value: &Tensor, cosines: &Tensor, sines: &Tensor, head_dim: i64) -> Tensor {
    let [query, key, value, cosines, sines] = [query, key, value, cosines, sines].map(Tensor::as_ptr);
    // SAFETY: all tensors outlive the call.
    raised(made(|out| unsafe { bitnet_causal_attention(query, key, value, cosines, sines, head_dim, out) }))
}

/// The mean cross-entropy, in nats, of the logits `hidden · weightᵀ` over the `targets`, int64 `[..]`, that are not `ignored`; the logits
/// never exist as a whole. `hidden` is `[.., size]`, `weight` float32 `[vocabulary, size]`; products are in bfloat16, sums and the loss in
/// float32. Only where [`super::integer_products`] names a processor.
pub fn head_cross_entropy(hidden: &Tensor, weight: &Tensor, targets: &Tensor, ignored: i64) -> Tensor {
    let [hidden, weight, targets] = [hidden, weight, targets].map(Tensor::as_ptr);
    // SAFETY: all tensors outlive the call.
    raised(made(|out| unsafe { bitnet_head_cross_entropy(hidden, weight, targets, ignored, out) }))
}

/// `relu(gate)² · up` of two tensors of one shape and type, float32 or bfloat16.
pub fn squared_relu_gate(gate: &Tensor, up: &Tensor) -> Tensor {
    // SAFETY: both tensors outlive the call.
    raised(made(|out| unsafe { bitnet_squared_relu_gate(gate.as_ptr(), up.as_ptr(), out) }))
}
