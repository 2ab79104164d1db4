//! A step between its launch and its row.

use super::step::{LaunchedStep, StepNumbers, StepOutcome};
use std::time::Instant;

/// A step that was launched and not recorded.
pub(super) struct Pending {
    pub(super) numbers: StepNumbers,
    pub(super) outcome: Outcome,
    /// Where the objective stands behind the step.
    pub(super) data_position: u64,
    pub(super) start: Instant,
}

/// What a step did, or the promise of it.
pub(super) enum Outcome {
    Known(StepOutcome),
    Launched(LaunchedStep),
}
