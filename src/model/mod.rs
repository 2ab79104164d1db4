//! The decoder on tensors: every BitNet variant is a point of [`crate::config::ModelConfig`]. Owns forward passes and the names of
//! parameters (Hugging Face's); gradients and files come from `libtorch`, updates from `optimizer`.

mod attention;
mod bit_linear;
mod blank;
mod block;
mod cache;
mod decoder;
mod device;
mod fast;
mod feed_forward;
mod folder;
mod generation;
mod initial;
mod matrix;
mod norm;
mod pass;
mod quantize;
mod rotary;

pub use crate::sampling::{Sampler, SamplingOptions};
pub use bit_linear::{BitLinear, BitLinearOptions, Input};
pub use blank::BlankModel;
pub use cache::Cache;
pub use decoder::{Activations, Decoder};
pub use device::{describe_device, select_device};
pub use folder::{LoadedModel, load_decoder};
pub use generation::generate;
pub use initial::InitialWeights;
pub use norm::RmsNorm;
pub use pass::Pass;
pub use quantize::{partly_quantized, quantize_activations, quantize_weights, weight_codes};
pub use rotary::RotaryTables;
