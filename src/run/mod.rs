//! The run directory: the only code that knows a path under runs/. Owns its layout, manifest, metrics, checkpoints and the status
//! that is derived from them; how a file is made durable is the business of `storage`.

mod directory;
mod metrics;
mod observer;

pub use directory::RunDirectory;
pub use metrics::{CodesRow, EvaluationRow, Event, EventRow, MetricsRow, SampleRow};
pub use observer::{Observer, Silent};
