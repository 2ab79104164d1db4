//! A run drawn while it trains: a bar on a terminal, a line every few seconds elsewhere. Always on stderr.

use super::samples::sample_lines;
use super::units::duration;
use crate::run::{EvaluationRow, MetricsRow, Observer, SampleRow};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write as _;
use std::io::{Write as _, stderr};
use std::time::{Duration, Instant};

/// Between two lines where stderr is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Draws on stderr.
pub struct TrainingProgress {
    bar: ProgressBar,
    first_step: u64,
    began: Instant,
    last_line: Option<Instant>,
}

impl Default for TrainingProgress {
    fn default() -> Self {
        Self { bar: ProgressBar::hidden(), first_step: 0, began: Instant::now(), last_line: None }
    }
}

impl TrainingProgress {
    fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            let _ = writeln!(stderr(), "{text}"); // nobody reads it: training goes on
        } else {
            self.bar.println(text);
        }
    }

    fn draw(&mut self, row: &MetricsRow, loss_average: f64) {
        let rate = row.tokens_per_second;
        let mfu = row.mfu.map_or(String::new(), |mfu| format!("  mfu {:.1} %", 100.0 * mfu));
        let message = format!("loss {loss_average:.3}  lr {:.2e}  {rate:.0} tok/s{mfu}", row.learning_rate);
        self.bar.set_message(message.clone());
        self.bar.set_position(row.step);
        let is_due = self.last_line.is_none_or(|last| last.elapsed() >= LINE_INTERVAL);
        if self.bar.is_hidden() && (is_due || Some(row.step) == self.bar.length()) {
            self.last_line = Some(Instant::now());
            let num_steps = self.bar.length().unwrap_or(row.step);
            let eta = duration(self.remaining(row.step, num_steps).as_secs_f64());
            self.line(&format!("step {}/{num_steps}  {message}  eta {eta}", row.step));
        }
    }

    fn remaining(&self, step: u64, num_steps: u64) -> Duration {
        let done = step.saturating_sub(self.first_step).max(1);
        self.began.elapsed().mul_f64(num_steps.saturating_sub(step) as f64 / done as f64)
    }
}

impl Observer for TrainingProgress {
    fn started(&mut self, step: u64, num_steps: u64) {
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}  eta {eta}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let eta = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&duration(state.eta().as_secs_f64()));
        };
        self.bar = ProgressBar::with_draw_target(Some(num_steps), ProgressDrawTarget::stderr_with_hz(5))
            .with_style(style.with_key("eta", eta))
            .with_position(step);
        self.bar.reset_eta();
        (self.first_step, self.began) = (step, Instant::now());
    }

    fn stepped(&mut self, row: &MetricsRow, loss_average: f64) {
        self.draw(row, loss_average);
    }

    fn evaluated(&mut self, rows: &[EvaluationRow]) {
        let Some(first) = rows.first() else { return };
        let mut text = format!("step {}  held out:", first.step);
        for row in rows {
            let _ = match row.metric.strip_prefix("exact_match") {
                Some(group) => write!(text, "  {} {:.1} %", if group.is_empty() { "all" } else { &group[1..] }, 100.0 * row.value),
                None => write!(text, "  {} {:.3}", row.metric, row.value),
            };
        }
        self.line(&text);
    }

    fn sampled(&mut self, rows: &[SampleRow]) {
        for (row, text) in rows.iter().zip(sample_lines(rows)) {
            self.line(&format!("step {}  {text}", row.step));
        }
    }

    fn noted(&mut self, message: &str) {
        self.line(message);
    }
}

impl Drop for TrainingProgress {
    fn drop(&mut self) {
        self.bar.abandon();
    }
}
