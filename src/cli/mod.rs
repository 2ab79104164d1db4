//! What the command lines of several binaries share: how each begins, groups of arguments for `#[command(flatten)]`, and from a model's name
//! to the model.

mod from_hub;
mod here;
mod missing;
mod model;
mod names;
mod program;
mod sampling;
mod template;

pub use from_hub::fetch_announced;
pub use here::{from_here, name_from_here, overrides_from_here};
pub use model::{ModelArguments, ModelPlace, say_passed_over};
pub use names::MODELS;
pub use program::run_program;
pub use sampling::SamplingArguments;
pub use template::TemplateArguments;
