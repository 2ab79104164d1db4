//! The border to libtorch: every line of C++ (`csrc/`), and every unsafe line but those of the packed kernels. Owns devices, memory, the
//! run-time loading of CUDA, and the operations that tch has no binding for; what they are used for is the business of `model`,
//! `optimizer` and `train`.

mod bit_linear;
mod caught;
mod checkpoint;
mod device;
mod foreign;
pub mod fused;
mod late;
mod memory;
mod parameters;
pub mod profile;
pub mod random;
mod tensor_file;

/// The libtorch that this is built for.
pub const VERSION: &str = "2.11.0";

pub use bit_linear::{PackedWeight, Rows, bit_linear, integer_products};
pub use caught::caught;
pub use checkpoint::checkpointed;
pub use device::{cuda, cuda_memory_bytes, cuda_name, cuda_peak_memory, flush_denormals, mps};
pub use late::{Late, sent};
pub use memory::{keep_freed_memory, peak_memory_bytes, use_large_pages};
pub use parameters::{AdamwState, AdamwStep, adamw_step, clip_gradients, clip_gradients_late, drop_gradients};
pub use tensor_file::{TensorFile, load_tensors, restore_parameters, tensor_bytes, tensor_file_header};
