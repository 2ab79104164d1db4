//! Asking a server again after a failure, as long as patience allows.

use super::Patience;
use super::failure::{Attempt, Failure};
use super::patience::stopped;
use crate::Result;

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
    use std::sync::Arc;
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
