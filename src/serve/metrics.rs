//! What a server counts while it runs, and its text for Prometheus (exposition format 0.0.4).

use super::admission::{ConnectionCounts, Phase};
use super::histogram::Histogram;
use crate::error::lock;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The media type of [`Metrics::text`].
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Status of a request whose client left before it was answered.
pub(super) const CLIENT_LEFT: u16 = 499;

/// Seconds.
const FIRST_TOKEN_BOUNDS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const TOKEN_BOUNDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Counters, gauges and histograms.
#[derive(Debug)]
pub(super) struct Metrics {
    /// By route and status.
    requests: Mutex<BTreeMap<(String, u16), u64>>,
    /// Texts that are computed.
    pub active: AtomicUsize,
    /// Tokens of prompts that were read.
    pub prompt_tokens: AtomicU64,
    /// Tokens that were chosen.
    pub generated_tokens: AtomicU64,
    /// Texts that were given up because their client left.
    pub cancelled: AtomicU64,
    /// Passes over the model that failed.
    pub failures: AtomicU64,
    /// Bytes of all caches.
    pub cache_bytes: AtomicUsize,
    /// From a request's arrival.
    pub first_token_seconds: Histogram,
    /// From one token of a text to its next.
    pub token_seconds: Histogram,
}

/// What other parts know at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gauges {
    /// Texts that have a place, computed or waiting.
    pub taken_places: usize,
    /// Places for both.
    pub places: usize,
    pub connections: ConnectionCounts,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Mutex::default(),
            active: AtomicUsize::default(),
            prompt_tokens: AtomicU64::default(),
            generated_tokens: AtomicU64::default(),
            cancelled: AtomicU64::default(),
            failures: AtomicU64::default(),
            cache_bytes: AtomicUsize::default(),
            first_token_seconds: Histogram::new(FIRST_TOKEN_BOUNDS),
            token_seconds: Histogram::new(TOKEN_BOUNDS),
        }
    }
}

impl Metrics {
    /// A request was answered with `status`; `route` is one of a few names.
    pub fn count_request(&self, route: &str, status: u16) {
        *lock(&self.requests).entry((route.to_owned(), status)).or_default() += 1;
    }

    /// All of it.
    pub fn text(&self, gauges: Gauges) -> String {
        let mut text = String::new();
        head(&mut text, "bitnet_requests_total", "counter", "Requests by route and status; 499 is a client that left");
        for ((route, status), count) in lock(&self.requests).iter() {
            let _ = writeln!(text, "bitnet_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        write_connections(&mut text, gauges.connections);
        let active = self.active.load(Ordering::Relaxed);
        let mut counter =
            |name: &str, help: &str, value: &AtomicU64| sample(&mut text, name, "counter", help, value.load(Ordering::Relaxed));
        counter("bitnet_prompt_tokens_total", "Tokens of prompts that were read", &self.prompt_tokens);
        counter("bitnet_generated_tokens_total", "Tokens that were chosen", &self.generated_tokens);
        counter("bitnet_cancelled_total", "Texts that were given up because their client left", &self.cancelled);
        counter("bitnet_model_failures_total", "Passes over the model that failed", &self.failures);
        let mut gauge = |name: &str, help: &str, value: usize| sample(&mut text, name, "gauge", help, value);
        gauge("bitnet_active_sequences", "Texts that are computed", active);
        gauge("bitnet_queue_length", "Texts that wait", gauges.taken_places.saturating_sub(active));
        gauge("bitnet_places", "Texts that may be computed or wait", gauges.places);
        gauge("bitnet_cache_bytes", "Memory of all caches", self.cache_bytes.load(Ordering::Relaxed));
        if let Some(bytes) = resident_bytes() {
            gauge("process_resident_memory_bytes", "Memory of the process", bytes);
        }
        let mut histogram = |name: &str, help: &str, values: &Histogram| {
            head(&mut text, name, "histogram", help);
            values.write(&mut text, name);
        };
        histogram("bitnet_time_to_first_token_seconds", "From a request's arrival to the first token", &self.first_token_seconds);
        histogram("bitnet_time_per_token_seconds", "From one token of a text to its next", &self.token_seconds);
        text
    }
}

fn write_connections(text: &mut String, counts: ConnectionCounts) {
    head(text, "bitnet_connections", "gauge", "Open connections, by what they wait for");
    for ((_, name), count) in Phase::ALL.iter().zip(counts.by_phase) {
        let _ = writeln!(text, "bitnet_connections{{phase=\"{name}\"}} {count}");
    }
    let help = "Connections that were closed to make room for new ones";
    sample(text, "bitnet_connections_closed_total", "counter", help, counts.num_closed);
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sample(text: &mut String, name: &str, kind: &str, help: &str, value: impl Display) {
    head(text, name, kind, help);
    let _ = writeln!(text, "{name} {value}");
}

/// None where the system does not say.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? * 1024)
}
