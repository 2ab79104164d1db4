//! Bytes that go by, drawn while they do: a bar with rate and time left on a terminal, a line every few seconds elsewhere. On stderr.

use super::units::duration;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{Write as _, stderr};
use std::time::{Duration, Instant};

/// Between two lines where stderr is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Draws on stderr.
pub struct BytesProgress {
    bar: ProgressBar,
    began: Instant,
    first: u64,
    last_line: Instant,
}

impl BytesProgress {
    /// Nothing is drawn before the first [`Self::advanced`].
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:24} {bytes}/{total_bytes}  {bytes_per_sec}  eta {eta}  {msg}");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, began: Instant::now(), first: 0, last_line: Instant::now() }
    }

    /// `done` of `total` bytes went by; `what` is being done.
    pub fn advanced(&mut self, done: u64, total: u64, what: &str) {
        if self.bar.length().is_none() {
            (self.began, self.first) = (Instant::now(), done);
            self.bar.set_length(total);
            self.bar.reset_eta();
        }
        self.bar.set_message(what.to_owned());
        self.bar.set_position(done);
        if self.bar.is_hidden() && (self.last_line.elapsed() >= LINE_INTERVAL) {
            self.last_line = Instant::now();
            let rate = done.saturating_sub(self.first) as f64 / self.began.elapsed().as_secs_f64().max(1e-3);
            let left = duration(total.saturating_sub(done) as f64 / rate.max(1.0));
            self.line(&format!("{} of {}  {}/s  eta {left}  {what}", HumanBytes(done), HumanBytes(total), HumanBytes(rate as u64)));
        }
    }

    /// A line above the bar.
    pub fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            let _ = writeln!(stderr(), "{text}"); // nobody reads it: the work goes on
        } else {
            self.bar.println(text);
        }
    }
}

impl Default for BytesProgress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for BytesProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
