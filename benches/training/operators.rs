//! The share of a step's time that each operator takes, as a table.

use super::measurement::markdown;
use bitnet::libtorch::profile::OperatorTime;
use std::time::Duration;

/// Operators below this share are summed up in one line.
const SMALLEST_SHARE: f64 = 0.005;

/// `operators` of `num_steps` steps that took `elapsed` together; the time that no operator accounts for is the last line.
pub fn operator_table(operators: &[OperatorTime], elapsed: Duration, num_steps: usize) -> String {
    let is_large = |operator: &&OperatorTime| share(operator.own_time, elapsed) >= SMALLEST_SHARE;
    let (large, small): (Vec<_>, Vec<_>) = operators.iter().partition(is_large);
    let accounted: Duration = operators.iter().map(|operator| operator.own_time).sum();
    let line = |name: String, time: Duration, calls: Option<u64>| {
        let percent = format!("{:.1} %", 100.0 * share(time, elapsed));
        let milliseconds = format!("{:.2}", 1000.0 * time.as_secs_f64() / num_steps as f64);
        let calls = calls.map_or_else(String::new, |calls| format!("{:.0}", calls as f64 / num_steps as f64));
        [name, percent, milliseconds, calls]
    };
    let mut rows = vec![["operator", "share", "ms a step", "calls a step"].map(str::to_owned)];
    rows.extend(large.iter().map(|operator| line(operator.short_name(), operator.own_time, Some(operator.calls))));
    let (time, calls) = (small.iter().map(|operator| operator.own_time).sum(), small.iter().map(|operator| operator.calls).sum());
    rows.push(line(format!("{} others", small.len()), time, Some(calls)));
    rows.push(line("outside operators".to_owned(), elapsed.saturating_sub(accounted), None));
    markdown(&rows)
}

fn share(time: Duration, elapsed: Duration) -> f64 {
    time.as_secs_f64() / elapsed.as_secs_f64()
}
