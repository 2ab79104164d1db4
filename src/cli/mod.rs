//! What the command lines of several binaries share: groups of arguments for `#[command(flatten)]`, and from a model's name to the model.

mod from_hub;
mod here;
mod missing;
mod model;
mod sampling;
mod template;

pub use from_hub::fetch_announced;
pub use here::{from_here, name_from_here, overrides_from_here};
pub use model::{MODELS, ModelArguments, ModelPlace, say_passed_over};
pub use sampling::SamplingArguments;
pub use template::TemplateArguments;
