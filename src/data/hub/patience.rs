//! How long to wait for a server, and how often to ask it again: the numbers. Who waits is `retry`.

use crate::{Error, Result};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A wait is cut into pieces of this length, between which a request to stop is seen.
const PIECE: Duration = Duration::from_millis(100);

/// How long to wait for a server, and how often to ask it again.
#[derive(Clone)]
pub struct Patience {
    /// For a connection.
    pub connect_timeout: Duration,
    /// For the next byte.
    pub stall_timeout: Duration,
    /// How often in a row something is tried again.
    pub num_retries: u32,
    /// How often a connection that is refused, or cannot be made at all, is tried again before the server has ever answered.
    pub num_connect_retries: u32,
    /// Before the first retry; it doubles with each, unless the server says how long.
    pub first_wait: Duration,
    /// Before any retry; a server that asks for more is taken at its word, and given up.
    pub longest_wait: Duration,
    /// How a piece of a wait passes: sleeping, outside tests.
    pub wait: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            num_retries: 5,
            num_connect_retries: 1,
            first_wait: Duration::from_secs(1),
            // The Hub counts requests over five minutes.
            longest_wait: Duration::from_secs(300),
            wait: Arc::new(std::thread::sleep),
        }
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connect_timeout, stall_timeout, num_retries, num_connect_retries, first_wait, longest_wait, wait: _ } = self;
        let retries = format!("{num_retries} or {num_connect_retries} x {first_wait:?}..{longest_wait:?}");
        write!(formatter, "Patience({connect_timeout:?}, {stall_timeout:?}, {retries})")
    }
}

impl Patience {
    /// Lets `duration` pass, or less when asked to stop.
    ///
    /// # Errors
    /// Asked to stop.
    pub(super) fn pass(&self, duration: Duration, stop: &dyn Fn() -> bool) -> Result<()> {
        let mut left = duration;
        while !left.is_zero() {
            if stop() {
                return Err(stopped());
            }
            let piece = left.min(PIECE);
            (self.wait)(piece);
            left -= piece;
        }
        if stop() { Err(stopped()) } else { Ok(()) }
    }
}

/// Asked to stop.
pub(super) fn stopped() -> Error {
    Error::ours("the download was stopped").hint("the same command goes on where it stopped")
}
