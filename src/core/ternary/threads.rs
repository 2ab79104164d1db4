//! A pool of threads that live as long as their owner: a closure that borrows runs on all of them, the caller's among them, and is over
//! on all of them when the call returns. Owns waiting (actively for a moment, then asleep) and the ways to split work; what the work is
//! belongs to the callers. Unsafe for one thing, which scoped threads do by being started each time: to lend a closure to threads that
//! outlive it.

use crate::error::lock;
use crate::{Context, Result};
use std::any::Any;
use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::mem::transmute;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
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
        self.run_on(&work, true);
    }

    /// Runs `work`, which takes pieces of something until none is left, as a loop over [`Chunks`] does: on the caller, and on those other
    /// threads that come before the caller has found none left. One that sleeps or waits for a processor keeps nobody waiting.
    ///
    /// # Panics
    /// As [`Threads::run`].
    pub fn drain(&self, work: impl Fn() + Sync) {
        self.run_on(&|_, _| work(), false);
    }

    fn run_on(&self, work: &(dyn Fn(usize, usize) + Sync), is_for_all: bool) {
        if self.workers.is_empty() || self.shared.is_busy.swap(true, Ordering::Acquire) {
            return work(0, 1);
        }
        let own = self.shared.run(work, self.workers.len(), is_for_all);
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
        self.drain(|| {
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
    /// Written by the caller while the door is shut and nobody inside; read by workers who found it open.
    work: UnsafeCell<Option<Work>>,
    door: Door,
    /// Workers that have not done their part of the round.
    remaining: AtomicUsize,
    is_busy: AtomicBool,
    is_stopping: AtomicBool,
    started: Gate,
    finished: Gate,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: all fields but `work` are Sync by themselves. `work` is written before the door is opened (release) and read by who then found it
// open (acquire); it is written again only after the door was shut and everybody had left (release), as the caller has seen (acquire).
unsafe impl Sync for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Shared").field("door", &self.door).field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

impl Shared {
    /// One round, by the only caller that holds `is_busy`. The result is that of the caller's own part.
    fn run(&self, work: &(dyn Fn(usize, usize) + Sync), num_workers: usize, is_for_all: bool) -> std::thread::Result<()> {
        // SAFETY: only the lifetime changes. This function returns, unwinding included, only after the door is shut and nobody inside,
        // and a worker touches the closure only inside.
        let lent: Work = unsafe { transmute::<&(dyn Fn(usize, usize) + Sync), Work>(work) };
        // SAFETY: the door is shut and nobody inside, as the struct's comment has it.
        unsafe { *self.work.get() = Some(lent) };
        self.remaining.store(num_workers, Ordering::Relaxed);
        self.door.open();
        self.started.notify();
        let own = catch_unwind(AssertUnwindSafe(|| work(0, num_workers + 1)));
        if is_for_all {
            self.finished.wait_until(|| self.remaining.load(Ordering::Acquire) == 0);
        }
        self.door.shut();
        self.finished.wait_until(|| self.door.is_left());
        own
    }

    fn work_until_stopped(&self, index: usize, num_threads: usize) {
        let mut round = 0;
        let is_stopping = || self.is_stopping.load(Ordering::Acquire);
        loop {
            self.started.wait_until(|| self.door.round() != round || is_stopping());
            if is_stopping() {
                return;
            }
            let is_open;
            (round, is_open) = self.door.enter();
            if is_open {
                self.do_part(index, num_threads);
            }
            self.door.leave();
            self.finished.notify();
        }
    }

    /// The part of one worker, who is inside.
    fn do_part(&self, index: usize, num_threads: usize) {
        // SAFETY: the door was open, and is not opened again before this worker has left.
        let work = unsafe { *self.work.get() };
        if let Some(Err(payload)) = work.map(|work| catch_unwind(AssertUnwindSafe(|| work(index, num_threads)))) {
            lock(&self.panic).get_or_insert(payload);
        }
        self.remaining.fetch_sub(1, Ordering::Release);
    }
}

/// Lets workers in while a round is open. From the highest bit on: the round, whether the door is open, and how many are inside.
#[derive(Debug, Default)]
struct Door(AtomicU64);

impl Door {
    const IS_OPEN: u64 = 1 << 32;
    const INSIDE: u64 = Self::IS_OPEN - 1;
    const ROUND: u32 = 33;

    /// Begins a round.
    fn open(&self) {
        self.0.fetch_add(3 * Self::IS_OPEN, Ordering::Release);
    }

    fn shut(&self) {
        self.0.fetch_sub(Self::IS_OPEN, Ordering::AcqRel);
    }

    fn round(&self) -> u64 {
        self.0.load(Ordering::Acquire) >> Self::ROUND
    }

    /// Whether nobody is inside.
    fn is_left(&self) -> bool {
        self.0.load(Ordering::Acquire) & Self::INSIDE == 0
    }

    /// The round, and whether the door was open. Who called has to leave, whatever the answer.
    fn enter(&self) -> (u64, bool) {
        let found = self.0.fetch_add(1, Ordering::AcqRel);
        (found >> Self::ROUND, found & Self::IS_OPEN != 0)
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Ordering::Release);
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

#[cfg(test)]
#[path = "threads_tests.rs"]
mod tests;
