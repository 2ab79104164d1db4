//! The documents of a round in token ids, by several threads. Owns the interface to a tokenizer, the special tokens around a document,
//! and the order of what comes back.

use super::PrepareSettings;
use super::records::{Encoded, EncodedSplit, HashedDocument, Round};
use crate::data::shards::PackedDocuments;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

/// Bytes of documents that a thread takes at a time.
const CHUNK_BYTES: usize = 1 << 17;

/// What a preparation needs of a tokenizer.
pub trait Encode: Sync {
    /// Token ids of `text`, without special tokens. The text has up to [`MAX_DOCUMENT_BYTES`](crate::data::documents::MAX_DOCUMENT_BYTES);
    /// one that takes much memory for each byte should take long texts in pieces.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;

    /// Every id is below it.
    fn vocab_size(&self) -> usize;

    /// The Hugging Face `tokenizer.json` that is put beside the shards.
    fn to_json(&self) -> Result<String>;
}

impl Encode for Tokenizer {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        Tokenizer::encode(self, text)
    }

    fn vocab_size(&self) -> usize {
        Tokenizer::vocab_size(self)
    }

    fn to_json(&self) -> Result<String> {
        Tokenizer::to_json(self)
    }
}

/// How documents are encoded.
#[derive(Clone, Copy)]
pub(super) struct Encoder<'a> {
    pub settings: &'a PrepareSettings,
    pub tokenizer: &'a dyn Encode,
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// The work of one round, which its threads share.
pub(super) struct Queue<'a> {
    encoder: Encoder<'a>,
    chunks: Vec<&'a [HashedDocument]>,
    next: AtomicUsize,
    /// Raised by the first failure and by a request to stop.
    is_over: AtomicBool,
}

/// Chunks that a thread encoded, by their number.
type Done = Vec<(usize, Result<Encoded>)>;

impl<'a> Queue<'a> {
    pub fn new(encoder: Encoder<'a>, round: &'a Round) -> Self {
        Self { encoder, chunks: chunks(&round.documents), next: AtomicUsize::new(0), is_over: AtomicBool::new(false) }
    }

    /// Starts up to `num_threads` threads, as many as there are chunks for.
    pub fn start<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, num_threads: usize) -> Vec<ScopedJoinHandle<'scope, Done>> {
        (0..num_threads.clamp(1, self.chunks.len().max(1))).map(|_| scope.spawn(|| self.work())).collect()
    }

    fn work(&self) -> Done {
        let mut done = Done::new();
        while !self.is_over.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(documents) = self.chunks.get(number) else { break };
            match self.encode(documents).transpose() {
                Some(encoded) => done.push((number, encoded)),
                None => self.is_over.store(true, Ordering::Relaxed),
            }
            if matches!(done.last(), Some((_, Err(_)))) {
                self.is_over.store(true, Ordering::Relaxed);
            }
        }
        done
    }

    /// What all threads encoded, in order; none when a stop was asked for before the end. Of several errors, that of the first document.
    pub fn collect(&self, threads: Vec<ScopedJoinHandle<'_, Done>>) -> Result<Option<Vec<Encoded>>> {
        let mut all = Done::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| Error::ours("the tokenizer panicked"))?);
        }
        all.sort_by_key(|(number, _)| *number);
        let encoded: Vec<Encoded> = all.into_iter().map(|(_, encoded)| encoded).collect::<Result<_>>()?;
        Ok((encoded.len() == self.chunks.len()).then_some(encoded))
    }

    /// None when a stop is asked for.
    fn encode(&self, documents: &[HashedDocument]) -> Result<Option<Encoded>> {
        let vocab_size = self.encoder.tokenizer.vocab_size();
        let empty = || EncodedSplit { documents: PackedDocuments::new(vocab_size), text_bytes: 0 };
        let mut encoded = Encoded { train: empty(), validation: empty() };
        for HashedDocument { document, hash } in documents {
            if (self.encoder.stop)() {
                return Ok(None);
            }
            let parts = self.encoder.settings.held_out.parts(&document.text, hash);
            for (split, text) in [(&mut encoded.train, parts.train), (&mut encoded.validation, parts.validation)] {
                let added = text.map_or(Ok(()), |text| self.add(split, text));
                added.map_err(|error| error.context(&document.place))?;
            }
        }
        Ok(Some(encoded))
    }

    /// Adds a document with its special tokens; one that has no token at all is left out.
    fn add(&self, split: &mut EncodedSplit, text: &str) -> Result<()> {
        let PrepareSettings { begin_with, end_with, .. } = *self.encoder.settings;
        let mut tokens = self.encoder.tokenizer.encode(text)?;
        if let Some(begin) = begin_with {
            tokens.insert(0, begin);
        }
        tokens.extend(end_with);
        if !tokens.is_empty() {
            split.documents.push(&tokens)?;
            split.text_bytes += text.len() as u64;
        }
        Ok(())
    }
}

/// Runs of documents of about [`CHUNK_BYTES`].
fn chunks(documents: &[HashedDocument]) -> Vec<&[HashedDocument]> {
    let mut gathered = 0;
    let is_same_chunk = |before: &HashedDocument, _: &HashedDocument| {
        gathered += before.document.text.len();
        let is_full = gathered >= CHUNK_BYTES;
        gathered = if is_full { 0 } else { gathered };
        !is_full
    };
    documents.chunk_by(is_same_chunk).collect()
}
