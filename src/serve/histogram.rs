//! A histogram in Prometheus' sense, of durations: how many lasted at most each number of seconds.

use crate::error::lock;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

/// Counts durations by upper bounds in seconds.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: &'static [f64],
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    /// Durations of each bound and not of the one before; those beyond all bounds come last.
    by_bound: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// `bounds` rise.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: Mutex::new(Counts { by_bound: vec![0; bounds.len() + 1], sum: 0.0 }) }
    }

    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let place = self.bounds.iter().position(|&bound| seconds <= bound).unwrap_or(self.bounds.len());
        let mut counts = lock(&self.counts);
        counts.by_bound[place] += 1;
        counts.sum += seconds;
    }

    /// Appends the samples of the metric `name`.
    pub fn write(&self, text: &mut String, name: &str) {
        let counts = lock(&self.counts);
        let mut sum = 0;
        for (place, count) in counts.by_bound.iter().enumerate() {
            sum += count;
            let bound = self.bounds.get(place).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let _ = writeln!(text, "{name}_sum {}\n{name}_count {sum}", counts.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_counts_what_is_at_most_its_bound() {
        let histogram = Histogram::new(&[0.5, 2.0]);
        [250, 500, 1000, 2250].iter().for_each(|&millis| histogram.observe(Duration::from_millis(millis)));
        let mut text = String::new();
        histogram.write(&mut text, "x");
        let expected = "x_bucket{le=\"0.5\"} 2\nx_bucket{le=\"2\"} 3\nx_bucket{le=\"+Inf\"} 4\nx_sum 4\nx_count 4\n";
        assert_eq!(text, expected);
    }
}
