//! What people see.
#[cfg(feature = "torch")]
mod progress_bar;
#[cfg(feature = "torch")]
pub use progress_bar::TrainingProgress;
