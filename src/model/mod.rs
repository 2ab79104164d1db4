//! The decoder on tensors: every BitNet variant is a point of [`crate::config::ModelConfig`]. Owns forward passes and the names of
//! parameters (Hugging Face's); gradients come from libtorch, updates from `optimizer`, files from `weights`.

mod attention;
mod bit_linear;
mod block;
mod decoder;
pub mod fast;
mod feed_forward;
mod folder;
mod generation;
mod norm;
mod quantize;
mod rotary;
mod weights;

pub use bit_linear::{BitLinear, BitLinearOptions};
pub use decoder::Decoder;
pub use folder::{LoadedModel, load_decoder};
pub use generation::{Sampler, SamplingOptions, generate};
pub use norm::RmsNorm;
pub use quantize::{quantize_activations, quantize_weights, weight_codes};
pub use rotary::RotaryTables;
pub use weights::{TensorFile, load_tensors, restore_parameters};
