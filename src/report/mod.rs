//! What people see.
#[cfg(feature = "torch")]
mod progress_bar;
mod terminal;
#[cfg(feature = "torch")]
pub use progress_bar::TrainingProgress;
pub use terminal::{run_binary, write_completions};
