//! Averages over the rows of a run: loss and its trend, speed. Rows that are not finite count for nothing.

use crate::run::{LOSS_DECAY, MetricsRow, exponential_mean};

/// Speed is a mean over so many steps.
const SPEED_WINDOW: usize = 100;
/// Fewer steps say nothing of where the loss goes.
const FEWEST_STEPS: usize = 10;
/// A loss so many times above both its start and that of guessing is lost: noise and an unlucky start stay well below.
const LOST: f64 = 1.25;

/// The smoothed loss at the end.
pub(super) fn loss_average(rows: &[MetricsRow]) -> Option<f64> {
    smoothed(rows).last().filter(|mean| mean.is_finite())
}

/// A sentence where the smoothed loss ended far above both its first value and `uniform`, the loss of guessing: such a run has learned
/// nothing that is left. That it falls again by then, as the learning rate does, changes nothing.
pub(super) fn divergence(rows: &[MetricsRow], uniform: f64) -> Option<String> {
    let start = rows.iter().map(|row| row.loss).find(|loss| loss.is_finite())?;
    let end = loss_average(rows).filter(|_| rows.len() >= FEWEST_STEPS)?;
    let is_lost = end > LOST * start.max(uniform);
    is_lost.then(|| format!("the loss is {end:.2}, where it began at {start:.2} and guessing has {uniform:.2}"))
}

/// Slope of the smoothed loss per step, by least squares over the last tenth of the rows, three at least.
pub(super) fn loss_trend(rows: &[MetricsRow]) -> Option<f64> {
    let window = (rows.len() / 10).max(3);
    let start = rows.len().checked_sub(window)?;
    let points = rows.iter().zip(smoothed(rows)).skip(start).map(|(row, mean)| (row.step as f64, mean));
    slope(&points.filter(|(_, mean)| mean.is_finite()).collect::<Vec<_>>())
}

fn smoothed(rows: &[MetricsRow]) -> impl Iterator<Item = f64> {
    exponential_mean(rows.iter().map(|row| row.loss), LOSS_DECAY)
}

fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let shared: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    (spread > 0.0).then(|| shared / spread)
}

/// Seconds a step, over the last steps.
pub(super) fn mean_step_seconds(rows: &[MetricsRow]) -> Option<f64> {
    let seconds: Vec<f64> = recent(rows).iter().map(|row| row.step_seconds).filter(|seconds| seconds.is_finite()).collect();
    (!seconds.is_empty()).then(|| seconds.iter().sum::<f64>() / seconds.len() as f64)
}

/// Tokens a second, over the last steps: all their tokens over all their time.
pub(super) fn tokens_per_second(rows: &[MetricsRow]) -> Option<f64> {
    let is_timed = |row: &&MetricsRow| (row.tokens_per_second * row.step_seconds).is_finite();
    let (tokens, seconds) = recent(rows)
        .iter()
        .filter(is_timed)
        .fold((0.0, 0.0), |(tokens, seconds), row| (tokens + row.tokens_per_second * row.step_seconds, seconds + row.step_seconds));
    (seconds > 0.0).then(|| tokens / seconds)
}

fn recent(rows: &[MetricsRow]) -> &[MetricsRow] {
    &rows[rows.len().saturating_sub(SPEED_WINDOW)..]
}

/// Wall time of all steps, in seconds.
pub(super) fn training_seconds(rows: &[MetricsRow]) -> f64 {
    rows.iter().map(|row| row.step_seconds).filter(|seconds| seconds.is_finite()).sum()
}
