//! What the command lines of several binaries share: groups of arguments for `#[command(flatten)]`, and from a model's name to the model.

mod from_hub;
mod missing;
mod model;
mod sampling;
mod template;

pub use from_hub::fetch_announced;
pub use model::{MODELS, ModelArguments, ModelPlace};
pub use sampling::SamplingArguments;
pub use template::TemplateArguments;
