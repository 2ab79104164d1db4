//! What people see: the progress of a training run, the status of runs, plots, and what every binary begins and ends with.

mod budget_view;
mod fields;
mod model_view;
mod plot;
mod preparation;
#[cfg(feature = "torch")]
mod progress_bar;
mod samples;
mod status_view;
mod styled;
mod terminal;
mod units;
mod watch;

pub use budget_view::{accelerator_table, budget_view, measured_view};
pub use model_view::model_view;
pub use plot::{Curve, LOSS, PictureFormat, PlotOptions, Point, XAxis, draw_in_terminal, draw_picture};
pub use preparation::BytesProgress;
#[cfg(feature = "torch")]
pub use progress_bar::TrainingProgress;
pub use status_view::{run_table, status_view};
pub use styled::{Emphasis, Styled, stderr_has_colour, stdout_has_colour};
pub use terminal::{peak_memory_bytes, run_binary, total_memory_bytes, without_controls};
pub use units::bytes;
pub use watch::{stdout_width, watch};
