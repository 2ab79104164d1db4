//! Ternary arithmetic on plain slices: the reference quantizers, their exact integer product, 2-bit packing, and statistics of codes.
//!
//! Everything is float32, half-to-even and free of libtorch; it is what faster implementations are compared with. Which quantizer a
//! model uses is the business of `config`; the quantizer `none` has no code here, since it changes nothing.

pub mod activations;
mod mean;
pub mod packing;
pub mod product;
pub mod statistics;
pub mod weights;
