//! The places of a server: each text that is computed or waits has one, and there are no more than fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All places; a copy is the same ones.
#[derive(Debug, Clone)]
pub(super) struct Places {
    taken: Arc<AtomicUsize>,
    count: usize,
}

/// One of them, free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<AtomicUsize>,
}

impl Places {
    pub fn new(count: usize) -> Self {
        Self { taken: Arc::default(), count }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn num_taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Takes `count` at once, or none.
    pub fn take(&self, count: usize) -> Option<Vec<Place>> {
        let enough = |taken: usize| taken.checked_add(count).filter(|&taken| taken <= self.count);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, enough).ok()?;
        Some((0..count).map(|_| Place { taken: Arc::clone(&self.taken) }).collect())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_all_or_none_and_come_back() {
        let places = Places::new(3);
        let two = places.take(2).unwrap();
        assert!(places.take(2).is_none() && places.take(usize::MAX).is_none());
        assert_eq!((two.len(), places.num_taken()), (2, 2));
        let third = places.take(1).unwrap();
        drop(two);
        assert_eq!(places.num_taken(), 1);
        assert!(places.take(2).is_some());
        drop(third);
        assert_eq!(places.num_taken(), 0);
    }
}
