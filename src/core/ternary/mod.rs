//! Ternary arithmetic on plain slices: the reference quantizers, their exact integer product, 2-bit packing, and statistics of codes; and
//! the fast form of it, packed matrices (`matrix`) times 8-bit activations (`int8_rows`, `multiply`) on a pool of `threads`.
//!
//! Everything is float32, half-to-even and free of libtorch; the reference is what faster implementations are compared with, here and in
//! the training half. `config` says which quantizer a model uses; the quantizer `none` has no code here, since it changes
//! nothing.

pub mod activations;
pub mod bandwidth;
pub mod bytes;
pub mod int8_rows;
pub mod kernels;
pub mod large_pages;
pub mod matrix;
mod mean;
pub mod multiply;
pub mod packing;
pub mod product;
mod quantize;
pub mod statistics;
pub mod threads;
pub mod weights;
