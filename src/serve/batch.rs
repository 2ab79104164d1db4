//! The model's own thread: all texts that are computed go on together, one pass over the model after the other. New ones join between
//! two passes, those whose client has left are given up there, and a failure is told to everyone it hit.

use super::api_error::ApiError;
use super::metrics::Metrics;
use super::sequence::{Job, Sequence, What};
use super::share::share;
use crate::error::catch_panic;
use crate::inference::{Cache, Engine, Workspace};
use crate::{Context, Error, Result};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

/// What limits the memory of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchLimits {
    /// Texts at once.
    pub parallel: usize,
    /// Tokens of a text.
    pub context: usize,
    /// Tokens of a pass, at least as many as texts.
    pub batch_tokens: usize,
}

/// The model's thread, from outside.
#[derive(Debug)]
pub(super) struct BatchThread {
    inbox: Sender<Message>,
    is_alive: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Where jobs are sent; a copy leads to the same thread.
#[derive(Debug, Clone)]
pub(super) struct Inbox {
    sender: Sender<Message>,
    is_alive: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Message {
    Job(Job),
    /// Give everything up.
    Stop,
}

impl BatchThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system starts no more threads.
    pub fn start(engine: Arc<Engine>, limits: BatchLimits, metrics: Arc<Metrics>) -> Result<Self> {
        let (inbox, messages) = channel();
        let is_alive = Arc::new(AtomicBool::new(true));
        let alive = Alive(Arc::clone(&is_alive));
        let work = move || {
            let _alive = alive;
            Batch::new(&engine, limits, &metrics).run(&messages);
        };
        let thread = Builder::new().name("bitnet-model".into()).spawn(work).context(|| "starting the model's thread")?;
        Ok(Self { inbox, is_alive, thread })
    }

    pub fn inbox(&self) -> Inbox {
        Inbox { sender: self.inbox.clone(), is_alive: Arc::clone(&self.is_alive) }
    }

    /// Asks the thread to give up what is computed or waits, after the pass at hand.
    pub fn stop(&self) {
        let _ = self.inbox.send(Message::Stop);
    }

    /// Waits until it has.
    pub fn join(self) {
        self.stop();
        let _ = self.thread.join();
    }
}

impl Inbox {
    /// Hands `job` over.
    ///
    /// # Errors
    /// The thread is no more.
    pub fn send(&self, job: Job) -> std::result::Result<(), ApiError> {
        self.sender.send(Message::Job(job)).map_err(|_| ApiError::no_model())
    }

    /// Whether the thread still works.
    pub fn is_alive(&self) -> bool {
        self.is_alive.load(Ordering::Acquire)
    }
}

/// Says that the thread has ended, however it did.
struct Alive(Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// All texts of the thread.
struct Batch<'a> {
    engine: &'a Engine,
    limits: BatchLimits,
    metrics: &'a Metrics,
    workspace: Workspace,
    waiting: VecDeque<Job>,
    active: Vec<Sequence<'a>>,
    /// Caches that nobody uses, emptied.
    spare: Vec<Cache>,
}

impl<'a> Batch<'a> {
    fn new(engine: &'a Engine, limits: BatchLimits, metrics: &'a Metrics) -> Self {
        let workspace = engine.model.new_workspace(limits.batch_tokens);
        Self { engine, limits, metrics, workspace, waiting: VecDeque::new(), active: Vec::new(), spare: Vec::new() }
    }

    fn run(&mut self, messages: &Receiver<Message>) {
        while self.receive(messages) {
            self.give_up_abandoned();
            self.admit();
            self.step();
            self.end_finished();
        }
        self.waiting.drain(..).for_each(|job| job.end(What::Failed(ApiError::stopping())));
        self.active.drain(..).for_each(|sequence| drop(sequence.fail(ApiError::stopping())));
    }

    /// Takes what has come, and sleeps while there is nothing to do; whether to go on.
    fn receive(&mut self, messages: &Receiver<Message>) -> bool {
        if self.active.is_empty() && self.waiting.is_empty() {
            match messages.recv() {
                Ok(Message::Job(job)) => self.waiting.push_back(job),
                Ok(Message::Stop) | Err(_) => return false,
            }
        }
        for message in messages.try_iter() {
            match message {
                Message::Job(job) => self.waiting.push_back(job),
                Message::Stop => return false,
            }
        }
        true
    }

    fn give_up_abandoned(&mut self) {
        let before = self.waiting.len() + self.active.len();
        self.waiting.retain(|job| !job.is_abandoned());
        let gone = self.active.extract_if(.., |sequence| sequence.is_abandoned());
        let caches: Vec<Cache> = gone.map(Sequence::finish).collect();
        self.put_back(caches);
        let count = before - self.waiting.len() - self.active.len();
        self.metrics.cancelled.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn admit(&mut self) {
        while self.active.len() < self.limits.parallel {
            let Some(job) = self.waiting.pop_front() else { break };
            match self.cache() {
                Ok(cache) => match Sequence::begin(self.engine, job, cache, self.metrics) {
                    Ok(sequence) => self.active.push(sequence),
                    Err(cache) => self.put_back([cache]),
                },
                Err(error) => job.end(What::Failed(ApiError::model(&error))),
            }
        }
        self.end_finished(); // a text of no tokens is over at once
    }

    fn cache(&mut self) -> Result<Cache> {
        if let Some(cache) = self.spare.pop() {
            return Ok(cache);
        }
        let cache = self.engine.model.new_cache(self.limits.context)?;
        self.metrics.cache_bytes.fetch_add(cache.num_bytes(), Ordering::Relaxed);
        Ok(cache)
    }

    fn put_back(&mut self, caches: impl IntoIterator<Item = Cache>) {
        self.spare.extend(caches.into_iter().map(|mut cache| {
            cache.truncate(0);
            cache
        }));
    }

    /// One pass over the model; if it fails, all texts that took part have failed.
    fn step(&mut self) {
        if self.active.is_empty() {
            return;
        }
        let outcome = catch_panic(|| self.pass()).unwrap_or_else(|_| Err(Error::ours("the model failed unexpectedly")));
        let Err(error) = outcome else { return };
        self.metrics.failures.fetch_add(1, Ordering::Relaxed);
        // What was half done is thrown away.
        self.active.drain(..).for_each(|sequence| drop(sequence.fail(ApiError::model(&error))));
        self.spare.clear();
        self.metrics.cache_bytes.store(0, Ordering::Relaxed);
        self.workspace = self.engine.model.new_workspace(self.limits.batch_tokens);
    }

    fn pass(&mut self) -> Result<()> {
        let unread: Vec<usize> = self.active.iter().map(Sequence::num_unread).collect();
        let shares = share(&unread, self.limits.batch_tokens);
        let mut chunks: Vec<_> = self.active.iter_mut().zip(&shares).map(|(sequence, &count)| sequence.chunk(count)).collect();
        let logits = self.engine.model.forward(&mut chunks, &mut self.workspace)?;
        drop(chunks);
        let mut rows = logits.chunks_exact(self.engine.model.config().vocab_size);
        let mut failed = Vec::new();
        for (index, (sequence, count)) in self.active.iter_mut().zip(shares).enumerate() {
            if !sequence.has_read(count) {
                continue;
            }
            let row = rows.next().ok_or_else(|| Error::ours("a text got no logits"))?;
            if let Err(error) = sequence.advance(row) {
                failed.push((index, ApiError::model(&error)));
            }
        }
        let caches: Vec<Cache> = failed.into_iter().rev().map(|(index, error)| self.active.remove(index).fail(error)).collect();
        self.put_back(caches);
        Ok(())
    }

    fn end_finished(&mut self) {
        let caches: Vec<Cache> = self.active.extract_if(.., |sequence| sequence.is_over()).map(Sequence::finish).collect();
        self.put_back(caches);
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
