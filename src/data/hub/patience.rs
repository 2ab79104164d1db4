//! How long to wait for a server, and how often to ask it again.

use super::failure::{Attempt, Failure, stopped};
use crate::Result;
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

/// Failures in a row.
pub(super) struct Attempts<'a> {
    patience: &'a Patience,
    stop: &'a dyn Fn() -> bool,
    /// Whether the server has never answered.
    is_first_contact: bool,
    num_failed: u32,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(patience: &'a Patience, stop: &'a dyn Fn() -> bool) -> Self {
        Self { patience, stop, is_first_contact: false, num_failed: 0 }
    }

    /// As [`Self::new`], of a server that has never answered: one that cannot be reached is soon given up.
    pub(super) fn of_first_contact(patience: &'a Patience, stop: &'a dyn Fn() -> bool) -> Self {
        Self { is_first_contact: true, ..Self::new(patience, stop) }
    }

    /// What failed before does not count any more.
    pub(super) fn got_on(&mut self) {
        self.num_failed = 0;
    }

    /// Waits until it makes sense to try again.
    ///
    /// # Errors
    /// It makes no sense: the failure is final, or one too many.
    pub(super) fn wait_after(&mut self, failure: Failure) -> Result<()> {
        let (error, retry_after, num_retries) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing { error, retry_after } => (error, retry_after, self.patience.num_retries),
            Failure::Unreachable { error, is_timeout: true } if self.is_first_contact => return Err(error),
            Failure::Unreachable { error, .. } if self.is_first_contact => (error, None, self.patience.num_connect_retries),
            Failure::Unreachable { error, .. } => (error, None, self.patience.num_retries),
        };
        let growing = self.patience.first_wait.saturating_mul(1 << self.num_failed.min(20)).min(self.patience.longest_wait);
        let wait = retry_after.unwrap_or(growing);
        if self.num_failed >= num_retries || wait > self.patience.longest_wait {
            let tried = self.num_failed + 1;
            return Err(if tried > 1 { error.context(format!("tried {tried} times")) } else { error });
        }
        self.num_failed += 1;
        self.patience.pass(wait, self.stop)
    }
}

/// What `attempt` gives, tried again as patience allows.
pub(super) fn retry<T>(mut attempts: Attempts<'_>, mut attempt: impl FnMut() -> Attempt<T>) -> Result<T> {
    loop {
        if (attempts.stop)() {
            return Err(stopped());
        }
        match attempt() {
            Ok(value) => return Ok(value),
            Err(failure) => attempts.wait_after(failure)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// How often something that never succeeds is tried.
    fn num_tries(attempts: impl Fn(&Patience) -> Attempts<'_>, failure: impl Fn(Error) -> Failure) -> usize {
        let patience = Patience { num_retries: 5, wait: Arc::new(|_| {}), ..Patience::default() };
        let num_tries = AtomicUsize::new(0);
        let attempt = || {
            num_tries.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(failure(Error::ours("x")))
        };
        retry(attempts(&patience), attempt).unwrap_err();
        num_tries.into_inner()
    }

    fn first(patience: &Patience) -> Attempts<'_> {
        Attempts::of_first_contact(patience, &never)
    }

    fn later(patience: &Patience) -> Attempts<'_> {
        Attempts::new(patience, &never)
    }

    fn never() -> bool {
        false
    }

    #[test]
    fn a_server_that_was_never_there_is_given_up_sooner_than_one_that_was() {
        for (is_timeout, expected) in [(false, 2), (true, 1)] {
            let unreachable = |error| Failure::Unreachable { error, is_timeout };
            assert_eq!((num_tries(first, unreachable), num_tries(later, unreachable)), (expected, 6));
        }
        assert_eq!((num_tries(first, Failure::passing), num_tries(later, Failure::passing)), (6, 6));
        assert_eq!((num_tries(first, Failure::Final), num_tries(later, Failure::Final)), (1, 1));
    }
}
