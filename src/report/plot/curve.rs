//! What is drawn of a run: its rows as points, thinned to what can be seen.

use crate::run::{EvaluationRow, MetricsRow, RunDirectory, exponential_mean, read_log};
use crate::storage::FileSystem;
use crate::{Error, Result};
use std::collections::BTreeSet;

/// What is drawn unless something else is asked for; also the metric of `eval.csv` that is drawn beside it.
pub const LOSS: &str = "loss";

/// What a column holds of a step.
type ColumnValue = fn(&MetricsRow) -> f64;

/// The other columns of `metrics.csv` that are worth a picture.
const COLUMNS: [(&str, ColumnValue); 5] = [
    ("grad_norm", |row| row.grad_norm),
    ("learning_rate", |row| row.learning_rate),
    ("step_seconds", |row| row.step_seconds),
    ("tokens_per_second", |row| row.tokens_per_second),
    ("weight_decay", |row| row.weight_decay),
];

/// What the horizontal axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XAxis {
    /// Optimizer steps.
    Steps,
    /// Tokens trained on.
    Tokens,
}

/// A point of a curve; a `y` that is not finite is a gap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

/// What is drawn of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What the legend calls it.
    pub label: String,
    /// What is drawn: [`LOSS`], another column of the steps, or a metric of evaluations.
    pub quantity: String,
    /// The loss of every step, or the other quantity.
    pub raw: Vec<Point>,
    /// Its debiased exponential mean; empty when nothing is smoothed.
    pub smoothed: Vec<Point>,
    /// Loss on held-out data.
    pub held_out: Vec<Point>,
    /// Learning rate of every step.
    pub learning_rate: Vec<Point>,
}

impl Curve {
    /// Reads what there is so far of `run`; no rows are no points.
    ///
    /// # Errors
    /// A log that exists and cannot be read.
    pub fn read(fs: &dyn FileSystem, run: &RunDirectory, x_axis: XAxis, smooth: f64) -> Result<Self> {
        let rows = read_log(fs, &run.metrics_path())?.rows;
        let evaluations = read_log(fs, &run.evaluation_path())?.rows;
        Ok(Self::of_rows(run.id(), &rows, &evaluations, x_axis, smooth))
    }

    /// Reads `quantity` of `run`: the loss, another column of its steps, or a metric of its evaluations.
    ///
    /// # Errors
    /// Those of [`Self::read`]; the user's, where the run has nothing of that name.
    pub fn read_quantity(fs: &dyn FileSystem, run: &RunDirectory, quantity: &str, x_axis: XAxis, smooth: f64) -> Result<Self> {
        if quantity == LOSS {
            return Self::read(fs, run, x_axis, smooth);
        }
        let rows: Vec<MetricsRow> = read_log(fs, &run.metrics_path())?.rows;
        let evaluations: Vec<EvaluationRow> = read_log(fs, &run.evaluation_path())?.rows;
        let (raw, smoothed) = match COLUMNS.iter().find(|(name, _)| *name == quantity) {
            Some((_, value)) => {
                let raw: Vec<Point> = rows.iter().map(|row| Point { x: x_of_row(row, x_axis), y: value(row) }).collect();
                let smoothed = if smooth > 0.0 { smoothed(&raw, smooth) } else { Vec::new() };
                (raw, smoothed)
            }
            None => (points_of(&evaluations, quantity, &rows, x_axis), Vec::new()),
        };
        if raw.is_empty() && !rows.is_empty() {
            return Err(no_quantity(run, quantity, &evaluations));
        }
        Ok(Self { label: run.id(), quantity: quantity.to_owned(), raw, smoothed, held_out: Vec::new(), learning_rate: Vec::new() })
    }

    /// The curve of rows that are at hand.
    pub fn of_rows(label: String, rows: &[MetricsRow], evaluations: &[EvaluationRow], x_axis: XAxis, smooth: f64) -> Self {
        let points =
            |y_of: fn(&MetricsRow) -> f64| rows.iter().map(|row| Point { x: x_of_row(row, x_axis), y: y_of(row) }).collect::<Vec<_>>();
        let raw = points(|row| row.loss);
        let smoothed = if smooth > 0.0 { smoothed(&raw, smooth) } else { Vec::new() };
        let held_out = points_of(evaluations, LOSS, rows, x_axis);
        Self { label, quantity: LOSS.to_owned(), smoothed, held_out, learning_rate: points(|row| row.learning_rate), raw }
    }

    /// What the axis and the legend call what is drawn.
    pub(super) fn quantity_of(curves: &[Self]) -> String {
        curves.first().map_or(LOSS, |curve| &curve.quantity).replace('_', " ")
    }

    /// Every point that is on the loss axis.
    pub(super) fn losses(&self) -> impl Iterator<Item = Point> {
        self.raw.iter().chain(&self.held_out).copied().filter(|point| point.y.is_finite())
    }
}

fn x_of_row(row: &MetricsRow, x_axis: XAxis) -> f64 {
    if x_axis == XAxis::Steps { row.step as f64 } else { row.tokens as f64 }
}

/// The finite values of one metric.
fn points_of(evaluations: &[EvaluationRow], metric: &str, rows: &[MetricsRow], x_axis: XAxis) -> Vec<Point> {
    let measured = evaluations.iter().filter(|row| row.metric == metric && row.value.is_finite());
    measured.filter_map(|row| Some(Point { x: x_of_step(rows, row.step, x_axis)?, y: row.value })).collect()
}

fn no_quantity(run: &RunDirectory, quantity: &str, evaluations: &[EvaluationRow]) -> Error {
    let metrics: BTreeSet<&str> = evaluations.iter().map(|row| row.metric.as_str()).filter(|metric| *metric != LOSS).collect();
    let names: Vec<&str> = std::iter::once(LOSS).chain(COLUMNS.map(|(name, _)| name)).chain(metrics).collect();
    Error::input(format!("{} has no {quantity:?} to draw", run.id())).hint(format!("there are {}", names.join(", ")))
}

/// A skipped step is a gap here too: a mean that bridges it would hide it.
fn smoothed(raw: &[Point], decay: f64) -> Vec<Point> {
    let means = exponential_mean(raw.iter().map(|point| point.y), decay);
    raw.iter().zip(means).map(|(point, mean)| if point.y.is_finite() { Point { y: mean, ..*point } } else { *point }).collect()
}

/// Where a step lies; none when tokens are counted and the step has no row.
fn x_of_step(rows: &[MetricsRow], step: u64, x_axis: XAxis) -> Option<f64> {
    if x_axis == XAxis::Steps || step == 0 {
        return Some(step as f64);
    }
    let index = rows.binary_search_by_key(&step, |row| row.step).ok()?;
    Some(rows[index].tokens as f64)
}

/// Cuts a curve at its gaps.
pub(super) fn without_gaps(points: &[Point]) -> impl Iterator<Item = &[Point]> {
    points.split(|point| !point.y.is_finite()).filter(|part| !part.is_empty())
}

/// At most four points for each of `num_columns` between `low` and `high`: first, lowest, highest and last. The line through them
/// covers the same pixels as the line through all.
pub(super) fn thinned(points: &[Point], low: f64, high: f64, num_columns: usize) -> Vec<Point> {
    if points.len() <= 4 * num_columns {
        return points.to_vec();
    }
    let column_of = |point: &Point| ((point.x - low) / (high - low) * num_columns as f64) as usize;
    points.chunk_by(|a, b| column_of(a) == column_of(b)).flat_map(extremes).collect()
}

fn extremes(column: &[Point]) -> Vec<Point> {
    let by_height = |(_, a): &(usize, &Point), (_, b): &(usize, &Point)| a.y.total_cmp(&b.y);
    let lowest = column.iter().enumerate().min_by(by_height).map_or(0, |(index, _)| index);
    let highest = column.iter().enumerate().max_by(by_height).map_or(0, |(index, _)| index);
    let mut kept = vec![0, lowest, highest, column.len() - 1];
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().map(|index| column[index]).collect()
}
