//! GGUF files: what a model becomes, and writing it.

mod file;
mod options;
mod plan;
mod text;

pub use file::{GgufExported, export_gguf};
pub use options::{EmbeddingType, GgufOptions, ProjectionType};
