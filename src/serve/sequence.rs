//! One text that is computed: what is unread of it, its cache, and the client that waits for what it becomes.

use super::api_error::ApiError;
use super::metrics::Metrics;
use super::places::Place;
use crate::Result;
use crate::inference::{Cache, Chunk, Continuation, Ending, Engine, GenerationOptions, LogProbabilities, Wanted};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// A text to continue, and who asked.
#[derive(Debug)]
pub(super) struct Job {
    pub prompt: Arc<[u32]>,
    pub options: GenerationOptions,
    /// Which of its request's answers this is.
    pub choice: usize,
    pub events: UnboundedSender<Event>,
    pub arrived: Instant,
    pub place: Place,
}

/// What happened to one of a request's answers.
#[derive(Debug)]
pub(super) struct Event {
    pub choice: usize,
    pub what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// It grew; the text may be empty.
    Grown { text: String, token: Option<TokenReport> },
    /// It is over, after so many tokens.
    Over { ending: Ending, num_tokens: usize },
    /// Nothing more will come.
    Failed(ApiError),
}

/// How likely a token was, if that was asked for.
#[derive(Debug)]
pub(super) struct TokenReport {
    pub token: u32,
    pub log_probabilities: LogProbabilities,
}

/// A text on its way.
#[derive(Debug)]
pub(super) struct Sequence<'a> {
    job: Job,
    continuation: Continuation<'a>,
    cache: Cache,
    num_read: usize,
    last: [u32; 1],
    last_at: Instant,
    active: Active<'a>,
}

/// Counted among the texts that are computed.
#[derive(Debug)]
struct Active<'a>(&'a Metrics);

impl<'a> Active<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.active.fetch_add(1, Ordering::Relaxed);
        Self(metrics)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Job {
    /// Whether nobody waits for the text any more.
    pub fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// The place is free before the client hears of the end, so that it can ask again at once.
    pub fn end(self, what: What) {
        let Self { choice, events, place, .. } = self;
        drop(place);
        let _ = events.send(Event { choice, what });
    }
}

impl<'a> Sequence<'a> {
    /// A text at its beginning, on an empty cache with room for its prompt; if it cannot begin, who asked is told.
    pub fn begin(engine: &'a Engine, job: Job, cache: Cache, metrics: &'a Metrics) -> std::result::Result<Self, Cache> {
        match Continuation::new(engine, &job.prompt, job.options.clone()) {
            Ok(continuation) => {
                Ok(Self { active: Active::new(metrics), last_at: job.arrived, job, continuation, cache, num_read: 0, last: [0] })
            }
            Err(error) => {
                job.end(What::Failed(ApiError::model(&error)));
                Err(cache)
            }
        }
    }

    pub fn is_abandoned(&self) -> bool {
        self.job.is_abandoned()
    }

    pub fn is_over(&self) -> bool {
        self.continuation.ending().is_some()
    }

    pub fn num_unread(&self) -> usize {
        (self.job.prompt.len() - self.num_read).max(1)
    }

    /// The next `count` tokens that are unread, at least one.
    pub fn chunk(&mut self, count: usize) -> Chunk<'_> {
        let unread = &self.job.prompt[self.num_read..];
        let (tokens, logits) = match unread.len() {
            0 => (&self.last[..], Wanted::Last),
            length => (&unread[..count.min(length)], if count < length { Wanted::Nothing } else { Wanted::Last }),
        };
        Chunk { cache: &mut self.cache, tokens, logits }
    }

    /// `count` more tokens have been read; whether logits came of it.
    pub fn has_read(&mut self, count: usize) -> bool {
        let of_prompt = (self.job.prompt.len() - self.num_read).min(count);
        self.num_read += of_prompt;
        self.active.0.prompt_tokens.fetch_add(of_prompt as u64, Ordering::Relaxed);
        self.num_read == self.job.prompt.len()
    }

    /// Chooses the next token and tells the client.
    pub fn advance(&mut self, logits: &[f32]) -> Result<()> {
        let metrics = self.active.0;
        let is_first = self.continuation.num_tokens() == 0;
        let piece = self.continuation.advance(logits)?;
        let elapsed = self.last_at.elapsed();
        self.last_at = Instant::now();
        if is_first { &metrics.first_token_seconds } else { &metrics.token_seconds }.observe(elapsed);
        metrics.generated_tokens.fetch_add(1, Ordering::Relaxed);
        self.last = [piece.token];
        // A token that ends the text is no part of it.
        let is_shown = self.continuation.ending() != Some(Ending::EndToken);
        let log_probabilities = piece.log_probabilities.filter(|_| is_shown);
        let token = log_probabilities.map(|log_probabilities| TokenReport { token: piece.token, log_probabilities });
        if !piece.text.is_empty() || token.is_some() {
            let what = What::Grown { text: piece.text, token };
            let _ = self.job.events.send(Event { choice: self.job.choice, what });
        }
        Ok(())
    }

    /// Tells the client that nothing follows, and gives the cache back.
    pub fn finish(self) -> Cache {
        let num_tokens = self.continuation.num_tokens();
        let ending = self.continuation.ending().unwrap_or(Ending::Interrupted);
        drop(self.active); // what is told is true already
        self.job.end(What::Over { ending, num_tokens });
        self.cache
    }

    /// Tells the client why nothing follows.
    pub fn fail(self, error: ApiError) -> Cache {
        drop(self.active);
        self.job.end(What::Failed(error));
        self.cache
    }
}
