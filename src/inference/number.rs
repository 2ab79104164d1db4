//! Number types of files and caches; the arithmetic is `dense`'s.

pub(super) use crate::dense::{Bf16, Number, add_scaled, dot, f16_to_f32};
