//! A row as a line of text and back: CSV for numbers, JSON for text and events.

use crate::run::{CodesRow, EvaluationRow, EventRow, MetricsRow, SampleRow};
use crate::{Context, Error, Result};
use serde::{Serialize, de::DeserializeOwned};

/// How the lines of a log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Comma-separated values under a header. A number that is not finite is `NaN`, `inf` or `-inf`.
    Csv(&'static [&'static str]),
    /// A JSON object a line. Numbers must be finite.
    JsonLines,
}

/// Something that is a line of a log.
pub trait LogRow: Serialize + DeserializeOwned {
    /// How its lines are written; for CSV, the names of its columns in order.
    const FORMAT: LogFormat;
    /// Columns that older logs do not have.
    const LATER_COLUMNS: &[&str] = &[];
    /// Whether a resume removes the rows beyond the step that it goes on from.
    const IS_CUT: bool = true;

    /// The step that the row belongs to.
    fn step(&self) -> u64;

    /// An error for what the format cannot hold.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

impl LogRow for MetricsRow {
    const FORMAT: LogFormat = LogFormat::Csv(&[
        "step",
        "tokens",
        "loss",
        "learning_rate",
        "weight_decay",
        "grad_norm",
        "skipped_steps",
        "step_seconds",
        "tokens_per_second",
        "unix_time",
        "mfu",
    ]);
    const LATER_COLUMNS: &[&str] = &["mfu"];

    fn step(&self) -> u64 {
        self.step
    }
}

impl LogRow for EvaluationRow {
    const FORMAT: LogFormat = LogFormat::Csv(&["step", "metric", "value"]);

    fn step(&self) -> u64 {
        self.step
    }
}

impl LogRow for CodesRow {
    const FORMAT: LogFormat = LogFormat::Csv(&["step", "layer", "matrix", "minus", "zero", "plus", "flipped"]);

    fn step(&self) -> u64 {
        self.step
    }
}

impl LogRow for SampleRow {
    const FORMAT: LogFormat = LogFormat::JsonLines;

    fn step(&self) -> u64 {
        self.step
    }
}

/// What happened did happen: events are never cut.
impl LogRow for EventRow {
    const FORMAT: LogFormat = LogFormat::JsonLines;
    const IS_CUT: bool = false;

    fn step(&self) -> u64 {
        self.step
    }

    fn check(&self) -> Result<()> {
        if self.unix_time.is_finite() { Ok(()) } else { Err(Error::ours(format!("an event at the time {}", self.unix_time))) }
    }
}

/// The first line of a log, with its newline; empty for JSON lines.
pub(super) fn header<R: LogRow>() -> Vec<u8> {
    match R::FORMAT {
        LogFormat::Csv(columns) => format!("{}\n", columns.join(",")).into_bytes(),
        LogFormat::JsonLines => Vec::new(),
    }
}

/// The line of a row, with its newline, which is the only one in it.
pub(super) fn encode<R: LogRow>(row: &R) -> Result<Vec<u8>> {
    row.check()?;
    let line = match R::FORMAT {
        LogFormat::Csv(_) => {
            let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
            writer.serialize(row).context(|| "writing a row of CSV".to_owned())?;
            writer.into_inner().map_err(|error| Error::ours(error.error()))?
        }
        LogFormat::JsonLines => [serde_json::to_vec(row)?, b"\n".to_vec()].concat(),
    };
    match line.iter().position(|byte| *byte == b'\n') {
        Some(end) if end + 1 == line.len() => Ok(line),
        _ => Err(Error::ours(format!("a row of a log holds a line break: {:?}", String::from_utf8_lossy(&line)))),
    }
}

/// Reads lines back, given the header that the file has.
pub(super) struct Decoder {
    columns: Option<csv::StringRecord>,
}

impl Decoder {
    /// `None` when `header` is no header of such rows.
    pub(super) fn new<R: LogRow>(header: Option<&[u8]>) -> Option<Self> {
        match R::FORMAT {
            LogFormat::JsonLines => Some(Self { columns: None }),
            LogFormat::Csv(columns) => {
                let found = split_csv(header?)?;
                let is_there = |column: &&str| R::LATER_COLUMNS.contains(column) || found.iter().any(|name| name == *column);
                columns.iter().all(is_there).then_some(Self { columns: Some(found) })
            }
        }
    }

    /// The row on a line without its newline; `None` when it is none.
    pub(super) fn decode<R: LogRow>(&self, line: &[u8]) -> Option<R> {
        match &self.columns {
            None => serde_json::from_slice(line).ok(),
            Some(columns) => split_csv(line).filter(|fields| fields.len() == columns.len())?.deserialize(Some(columns)).ok(),
        }
    }
}

fn split_csv(line: &[u8]) -> Option<csv::StringRecord> {
    let text = std::str::from_utf8(line).ok()?;
    if !text.contains('"') {
        return Some(text.split(',').collect()); // nearly every line; a reader for each would take ten times as long
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
    reader.records().next()?.ok()
}
