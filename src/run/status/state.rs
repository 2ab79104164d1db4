//! What a run is doing, from three signs: whether a living process holds its lock, the last event, and how fresh the rows are.

use super::progress::mean_step_seconds;
use crate::run::{Event, EventRow, MetricsRow};
use serde::Serialize;
use std::fmt;

/// A run whose lock is held is stalled after this long without a row, in seconds, or after [`STALLED_STEPS`] mean steps if that is more.
const STALLED_SECONDS: f64 = 60.0;
const STALLED_STEPS: f64 = 20.0;
/// Between two signs that belong together (the lock and the event, the directory and the lock) lie at most so many seconds.
const GRACE_SECONDS: f64 = 10.0;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its process lives and has no step done yet since it began.
    Starting,
    /// Its process lives and rows arrive.
    Running,
    /// Its process lives, but no row has come for long.
    Stalled,
    /// All steps are done and saved.
    Finished,
    /// Stopped on request with its state saved.
    Stopped,
    /// Ended by an error, or killed.
    Failed,
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stalled => "stalled",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        })
    }
}

/// What the state follows from.
pub(super) struct Signs<'a> {
    pub(super) is_locked: bool,
    pub(super) events: &'a [EventRow],
    pub(super) rows: &'a [MetricsRow],
    /// When the run's directory last changed, in seconds since 1970.
    pub(super) directory_changed: Option<f64>,
    pub(super) now: f64,
}

impl Signs<'_> {
    /// The state, and why it is that.
    pub(super) fn state(&self) -> (State, Option<String>) {
        let end = self.events.last().and_then(|row| Some((ending(&row.event)?, row.unix_time)));
        match (end, self.is_locked) {
            (Some((_, time)), true) if self.now - time > GRACE_SECONDS => (State::Starting, None), // it has only just begun again
            (Some((end, _)), _) => end,
            (None, true) => self.alive(),
            (None, false) => self.dead(),
        }
    }

    /// A process holds the lock, and it has not said that it ended.
    fn alive(&self) -> (State, Option<String>) {
        let started = self.events.iter().rev().find(|row| matches!(row.event, Event::Started { .. })).map(|row| row.unix_time);
        let last_row = self.rows.last().map(|row| row.unix_time).filter(|time| started.is_none_or(|started| *time >= started));
        let last_sign = last_row.or(started).or(self.directory_changed).unwrap_or(self.now);
        let silent_seconds = self.now - last_sign;
        let limit = STALLED_SECONDS.max(STALLED_STEPS * mean_step_seconds(self.rows).unwrap_or(0.0));
        match (silent_seconds > limit, last_row) {
            (true, _) => (State::Stalled, Some(format!("its process lives, but no step was recorded for {silent_seconds:.0} s"))),
            (false, Some(_)) => (State::Running, None),
            (false, None) => (State::Starting, None),
        }
    }

    /// No process holds the lock, and none said that it ended.
    fn dead(&self) -> (State, Option<String>) {
        let is_new = self.directory_changed.is_some_and(|time| (self.now - time).abs() <= GRACE_SECONDS);
        match (self.events.is_empty() && self.rows.is_empty(), is_new) {
            (true, true) => (State::Starting, None),
            (true, false) => (State::Failed, Some("its process ended before the first step".to_owned())),
            (false, _) => (State::Failed, Some("its process was killed: it ended without a word".to_owned())),
        }
    }
}

/// What an event says about the end, if it is one.
fn ending(event: &Event) -> Option<(State, Option<String>)> {
    match event {
        Event::Finished => Some((State::Finished, None)),
        Event::Stopped { reason } => Some((State::Stopped, Some(reason.clone()))),
        Event::Failed { reason } => Some((State::Failed, Some(reason.clone()))),
        Event::Started { .. } | Event::Saved { .. } | Event::SaveFailed { .. } => None,
    }
}
