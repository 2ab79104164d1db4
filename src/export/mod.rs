//! From a model folder to what others load: a folder in Hugging Face's layout, with latent or packed weights, its config.json, the text
//! side and a model card; or a GGUF file. Owns what goes into them and what transformers or llama.cpp make of it; reading a folder is left
//! to `inference`, writing one durably to `storage`, and the format of a GGUF file to `gguf`.

mod card;
mod folder;
mod gguf;
mod layout;
mod options;
mod place;
mod provenance;
mod texts;
mod transformers;
mod weights_file;

pub use folder::{Exported, export_folder, import_folder};
pub use gguf::{EmbeddingType, GgufExported, GgufOptions, ProjectionType, export_gguf};
pub use layout::{Layout, layout_of};
pub use options::{ExportOptions, FloatType, WeightForm};
pub use place::require_place;
pub use provenance::Provenance;
