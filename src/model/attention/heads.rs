//! What every attention does with heads: parting features into them, and the mean of values by the softmax of scores.

use tch::{Device, Kind, Tensor};

/// `softmax(query keyᵀ / √size) value`, all `[batch, heads, positions, size]`, to `[batch, sequence, heads · size]`. The queries are those of
/// the last positions, and each sees the positions up to its own; keys and values may have fewer heads where `is_grouped`.
pub(super) fn attend(query: &Tensor, key: &Tensor, value: &Tensor, is_grouped: bool) -> Tensor {
    let (sequence, positions) = (query.size()[2], key.size()[2]);
    let is_whole = sequence == positions;
    let mask =
        (!is_whole && sequence > 1).then(|| Tensor::ones([sequence, positions], (Kind::Bool, query.device())).tril(positions - sequence));
    let mixed = Tensor::scaled_dot_product_attention(query, key, value, mask.as_ref(), 0.0, is_whole, None, is_grouped);
    mixed.transpose(1, 2).flatten(2, 3)
}

/// `[batch, sequence, heads · size]` to `[batch, heads, sequence, size]`, in the type that attention is computed in.
pub(super) fn heads(features: &Tensor, size: i64) -> Tensor {
    // On the CPU, attention in bfloat16 takes twice as long as in float32 (64 x 64 tokens), eight times for 64 x 16.
    let features = if features.device() == Device::Cpu { features.to_kind(Kind::Float) } else { features.shallow_clone() };
    features.unflatten(-1, [-1, size]).transpose(1, 2)
}
