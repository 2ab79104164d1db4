//! The GGUF format on plain bytes: header, metadata and tensor table (read in versions 2 and 3, written in 3), and the block types that
//! ternary models come in, both ways. Where bytes lie on a disk, and the meaning of keys and tensors for a model, are left to the
//! caller.
//!
//! Layouts are those of llama.cpp, and of bitnet.cpp on x86 for I2_S.

mod cursor;
mod file;
#[cfg(test)]
mod file_tests;
mod floats;
mod names;
mod tensor_type;
mod ternary;
#[cfg(test)]
mod ternary_tests;
mod value;
mod writer;

pub use file::{File, Tensor};
pub use floats::{append_floats, has_floats, read_floats};
pub use names::{our_name, tensor_name};
pub use tensor_type::{MAX_DIMENSIONS, TensorType};
pub use ternary::{Scaling, TernaryBlocks, append_codes, read_codes};
pub use value::{Array, Value, ValueType};
pub use writer::{Layout, Writer};

/// How a file begins.
pub const MAGIC: [u8; 4] = *b"GGUF";
/// What the start of the data and of every tensor is a multiple of, unless a file says otherwise.
pub const ALIGNMENT: u64 = 32;
/// The key that says otherwise.
pub const ALIGNMENT_KEY: &str = "general.alignment";
/// Our own: the quantizer of activations, which llama.cpp has no key for.
pub const ACTIVATIONS_KEY: &str = "bitnet.activation_quantizer";
