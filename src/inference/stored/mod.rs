//! A model's files: which there are, what they hold, and reading it checked. What is computed with it is left to `layers`.

mod from_gguf;
mod inspection;
mod int8_row;
mod model;
mod projection;
mod random_folder;
mod source;
mod tensor;
mod tensor_folder;
mod weights;

pub(super) use from_gguf::GgufModel;
pub use inspection::{Codes, Inspection, TensorInspection};
pub(super) use int8_row::int8_row;
pub use model::{NumberType, StoredModel, StoredParameter};
pub(super) use projection::ProjectionWeights;
pub use random_folder::write_random_folder;
pub(super) use source::Source;
pub(super) use tensor::Encoding;
pub(super) use weights::{StoredTable, Weights};
