//! From a model folder to what others load: GGUF files. Owns what goes into such a file; reading a folder is the business of `inference`,
//! the format that of `gguf`, writing durably that of `storage`.

#[cfg(feature = "text")]
mod gguf;

#[cfg(feature = "text")]
pub use gguf::{EmbeddingType, GgufExported, GgufOptions, ProjectionType, export_gguf};
