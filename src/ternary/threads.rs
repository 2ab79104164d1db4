//! A pool of threads that live as long as their owner: a closure that borrows runs on all of them, the caller's among them, and is over
//! on all of them when the call returns. Owns waiting (actively for a moment, then asleep) and the ways to split work; what the work is
//! belongs to the callers. Unsafe for one thing, which scoped threads do by being started each time: to lend a closure to threads that
//! outlive it.

use crate::{Context, Result};
use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::mem::transmute;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How long a thread waits actively: longer than what lies between two products of a token, short enough for an idle engine to sleep.
const ACTIVE_WAIT: Duration = Duration::from_micros(100);

/// A closure of the caller, called with (thread index, number of threads).
type Work = &'static (dyn Fn(usize, usize) + Sync);

/// The pool.
#[derive(Debug)]
pub struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Threads {
    /// A pool of `num_threads`, the caller of [`Threads::run`] being one of them; 0 counts as 1.
    ///
    /// # Errors
    /// The system starts no more threads.
    pub fn new(num_threads: usize) -> Result<Self> {
        let mut threads = Self { shared: Arc::new(Shared::default()), workers: Vec::new() };
        let num_threads = num_threads.max(1);
        for index in 1..num_threads {
            let shared = Arc::clone(&threads.shared);
            let worker = Builder::new().name(format!("bitnet-{index}")).spawn(move || shared.work_until_stopped(index, num_threads));
            threads.workers.push(worker.context(|| format!("starting thread {index} of {num_threads}"))?);
        }
        Ok(threads)
    }

    /// Threads that a closure runs on, the caller's included.
    pub fn num_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `work(thread_index, num_threads)` once on every thread and returns when all are done. While the pool is at work already, for
    /// another thread or for a closure that calls this again, the caller does all of it alone, as `work(0, 1)`.
    ///
    /// # Panics
    /// With what `work` panicked with, on whichever thread, once all threads are done.
    pub fn run(&self, work: impl Fn(usize, usize) + Sync) {
        if self.workers.is_empty() || self.shared.is_busy.swap(true, Ordering::Acquire) {
            return work(0, 1);
        }
        let own = self.shared.run(&work, self.workers.len());
        let theirs = lock(&self.shared.panic).take();
        self.shared.is_busy.store(false, Ordering::Release);
        if let Some(payload) = own.err().or(theirs) {
            resume_unwind(payload);
        }
    }

    /// Gives each of `items` to whichever thread is free; the items can borrow disjoint parts of one slice, as `chunks_mut` does. Taking
    /// one costs a lock, so an item should be some microseconds of work.
    ///
    /// # Panics
    /// As [`Threads::run`].
    pub fn for_each<I: Iterator + Send>(&self, items: I, work: impl Fn(I::Item) + Sync) {
        let items = Mutex::new(items);
        let next = || lock(&items).next();
        self.run(|_, _| {
            while let Some(item) = next() {
                work(item);
            }
        });
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::Release);
        self.shared.started.notify();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its work, and has none of its own.
            let _ = worker.join();
        }
    }
}

/// The share of thread `index` of `num_threads` in `length` things: contiguous, and as even as can be.
pub fn share(length: usize, index: usize, num_threads: usize) -> Range<usize> {
    let start = |index: usize| length / num_threads * index + (length % num_threads).min(index);
    start(index)..start(index + 1)
}

/// Ranges of `0..length` that threads take as they become free.
#[derive(Debug)]
pub struct Chunks {
    taken: AtomicUsize,
    length: usize,
    size: usize,
}

impl Chunks {
    /// Ranges of `size`, the last perhaps shorter; a size of 0 counts as 1.
    pub fn new(length: usize, size: usize) -> Self {
        Self { taken: AtomicUsize::new(0), length, size: size.max(1) }
    }

    /// The next range; `None` once all are taken.
    pub fn take(&self) -> Option<Range<usize>> {
        let start = self.taken.fetch_add(self.size, Ordering::Relaxed);
        (start < self.length).then(|| start..self.length.min(start + self.size))
    }
}

/// What the threads of a pool share.
#[derive(Default)]
struct Shared {
    /// Written by the caller while no worker is at work; read by workers between the start of a round and their part in `remaining`.
    work: UnsafeCell<Option<Work>>,
    round: AtomicUsize,
    /// Workers that are not done with the round.
    remaining: AtomicUsize,
    is_busy: AtomicBool,
    is_stopping: AtomicBool,
    started: Gate,
    finished: Gate,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: all fields but `work` are Sync by themselves. `work` is written before `round` is raised (release) and read after that was seen
// (acquire); it is written again only after every worker has lowered `remaining` (release) and the caller has seen 0 (acquire).
unsafe impl Sync for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("round", &self.round).field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

impl Shared {
    /// One round, by the only caller that holds `is_busy`. The result is that of the caller's own part.
    fn run(&self, work: &(dyn Fn(usize, usize) + Sync), num_workers: usize) -> std::thread::Result<()> {
        // SAFETY: only the lifetime changes. This function returns, unwinding included, only after `remaining` is 0, and a worker does not
        // touch the closure after its part in that.
        let lent: Work = unsafe { transmute::<&(dyn Fn(usize, usize) + Sync), Work>(work) };
        // SAFETY: no worker is at work, as the struct's comment has it.
        unsafe { *self.work.get() = Some(lent) };
        self.remaining.store(num_workers, Ordering::Relaxed);
        self.round.fetch_add(1, Ordering::Release);
        self.started.notify();
        let own = catch_unwind(AssertUnwindSafe(|| work(0, num_workers + 1)));
        self.finished.wait_until(|| self.remaining.load(Ordering::Acquire) == 0);
        own
    }

    fn work_until_stopped(&self, index: usize, num_threads: usize) {
        let mut rounds_done = 0;
        let is_stopping = || self.is_stopping.load(Ordering::Acquire);
        loop {
            self.started.wait_until(|| self.round.load(Ordering::Acquire) != rounds_done || is_stopping());
            if is_stopping() {
                return;
            }
            rounds_done = self.round.load(Ordering::Acquire);
            // SAFETY: the round was seen, and `remaining` still counts this worker.
            let work = unsafe { *self.work.get() };
            if let Some(Err(payload)) = work.map(|work| catch_unwind(AssertUnwindSafe(|| work(index, num_threads)))) {
                lock(&self.panic).get_or_insert(payload);
            }
            if self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.finished.notify();
            }
        }
    }
}

/// Where threads wait for what an atomic tells.
#[derive(Debug, Default)]
struct Gate {
    num_asleep: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Gate {
    fn wait_until(&self, is_open: impl Fn() -> bool) {
        if wait_actively(&is_open) {
            return;
        }
        let mut guard = lock(&self.lock);
        self.num_asleep.fetch_add(1, Ordering::Relaxed);
        // Of this fence and that of `notify` one comes first: either the change is seen here, or the sleeper there.
        fence(Ordering::SeqCst);
        while !is_open() {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.num_asleep.fetch_sub(1, Ordering::Relaxed);
    }

    /// To be called after the change that threads wait for.
    fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.num_asleep.load(Ordering::Relaxed) > 0 {
            // Whoever has counted himself holds the lock until he sleeps.
            drop(lock(&self.lock));
            self.wake.notify_all();
        }
    }
}

/// Whether `is_open` became true while waiting actively.
fn wait_actively(is_open: &impl Fn() -> bool) -> bool {
    const LOOKS_PER_CLOCK: usize = 64;
    let start = Instant::now();
    loop {
        for _ in 0..LOOKS_PER_CLOCK {
            if is_open() {
                return true;
            }
            spin_loop();
        }
        if start.elapsed() > ACTIVE_WAIT {
            return false;
        }
    }
}

/// What a lock here guards stays whole when a holder panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    #[test]
    fn every_thread_runs_its_part_exactly_once_in_every_round() {
        for num_threads in [0, 1, 2, 5] {
            let threads = Threads::new(num_threads).unwrap();
            let counts: Vec<AtomicUsize> = (0..threads.num_threads()).map(|_| AtomicUsize::new(0)).collect();
            for _ in 0..1000 {
                threads.run(|index, total| {
                    assert_eq!(total, counts.len());
                    counts[index].fetch_add(1, Ordering::Relaxed);
                });
            }
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1000), "{counts:?}");
        }
    }

    #[test]
    fn threads_that_have_fallen_asleep_wake_up() {
        let threads = Threads::new(3).unwrap();
        for _ in 0..5 {
            sleep(ACTIVE_WAIT * 20);
            let count = AtomicUsize::new(0);
            threads.run(|index, _| {
                // The caller falls asleep too.
                sleep(ACTIVE_WAIT * 20 * index as u32);
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 3);
        }
    }

    #[test]
    fn a_panic_on_any_thread_reaches_the_caller_and_the_pool_lives_on() {
        let threads = Threads::new(3).unwrap();
        for guilty in 0..3 {
            let outcome = crate::error::catch_panic(|| threads.run(|index, _| assert_ne!(index, guilty, "thread {index}")));
            let payload = outcome.unwrap_err();
            assert!(payload.downcast_ref::<String>().unwrap().contains(&format!("thread {guilty}")));
            let count = AtomicUsize::new(0);
            threads.run(|_, _| _ = count.fetch_add(1, Ordering::Relaxed));
            assert_eq!(count.into_inner(), 3);
        }
    }

    #[test]
    fn a_call_while_the_pool_is_at_work_runs_on_its_caller_alone() {
        let threads = Threads::new(2).unwrap();
        let count = AtomicUsize::new(0);
        threads.run(|_, _| {
            threads.run(|index, total| {
                assert_eq!((index, total), (0, 1));
                count.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(count.into_inner(), 2);
    }

    #[test]
    fn callers_on_several_threads_share_a_pool() {
        let threads = Threads::new(2).unwrap();
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let call = || threads.for_each(0..100, |_| _ = count.fetch_add(1, Ordering::Relaxed));
                scope.spawn(move || (0..50).for_each(|_| call()));
            }
        });
        assert_eq!(count.into_inner(), 3 * 50 * 100);
    }

    #[test]
    fn items_that_borrow_parts_of_a_slice_are_each_taken_once() {
        let threads = Threads::new(3).unwrap();
        let mut numbers = vec![0; 1000];
        threads.for_each(numbers.chunks_mut(7).enumerate(), |(index, chunk)| chunk.fill(index + 1));
        assert!(numbers.iter().enumerate().all(|(at, &number)| number == at / 7 + 1));
    }

    #[test]
    fn shares_and_chunks_cover_everything_once() {
        for (length, num_threads) in [(0, 3), (1, 3), (10, 3), (12, 4), (5, 1)] {
            let shares: Vec<usize> = (0..num_threads).flat_map(|index| share(length, index, num_threads)).collect();
            assert_eq!(shares, (0..length).collect::<Vec<_>>());
            let sizes: Vec<usize> = (0..num_threads).map(|index| share(length, index, num_threads).len()).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
            let chunks = Chunks::new(length, num_threads);
            let taken: Vec<usize> = std::iter::from_fn(|| chunks.take()).flatten().collect();
            assert_eq!(taken, (0..length).collect::<Vec<_>>());
        }
    }
}
