//! The logs of a run: appended by the trainer, read by status and plots, also while they are being written. Owns their text form, what
//! becomes of them on a resume, and how a torn or damaged line is borne; the rows themselves are the business of `metrics`.

mod log;
mod read;
mod row;
mod run_logs;
mod tensorboard;

#[cfg(test)]
mod tests;

pub use log::Log;
pub use read::{LogContent, read_log};
pub use row::{LogFormat, LogRow};
pub use run_logs::RunLogs;
