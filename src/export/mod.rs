//! From a model folder to one that others load: latent or packed weights in Hugging Face's layout, its config.json, the text side and a
//! model card. Owns what goes into such a folder and what transformers makes of it; reading a folder is the business of `inference`,
//! writing one durably that of `storage`.

mod card;
mod folder;
mod layout;
mod place;
mod provenance;
mod texts;
mod transformers;
mod weights_file;

pub use folder::{ExportOptions, Exported, WeightForm, export_folder, import_folder};
pub use layout::{Layout, layout_of};
pub use place::require_place;
pub use provenance::Provenance;
pub use weights_file::FloatType;
