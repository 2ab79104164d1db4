//! The documents of a corpus, cut into units and these into rounds. Owns where a unit ends, which is a function of the documents alone,
//! and the passing over of units that are done.

use super::records::{HashedDocument, Round, UnitEnd, UnitRecord};
use crate::Result;
use crate::data::documents::{Document, Documents};

/// What a document counts for beside its text, so that units of tiny documents do not have too many.
const DOCUMENT_BYTES: u64 = 16;

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    /// Documents to encode.
    Encode(Round),
    /// A unit that is done already; its documents were passed over.
    Kept(UnitRecord),
    /// A unit that is done, but of other documents.
    Changed,
    /// A stop was asked for.
    Stopped,
    /// There are no more documents.
    End,
}

/// Cuts documents into units and rounds.
pub(super) struct Cutter {
    documents: Documents,
    ahead: Option<Document>,
    unit_bytes: u64,
    round_bytes: u64,
    unit: u64,
    so_far: SoFar,
}

/// The documents of a unit that were passed.
#[derive(Default)]
struct SoFar {
    bytes: u64,
    documents: u64,
    hasher: blake3::Hasher,
}

impl Cutter {
    /// Begins with the first document, which it reads.
    pub fn new(mut documents: Documents, unit_bytes: u64, round_bytes: u64) -> Result<Self> {
        let ahead = documents.next().transpose()?;
        Ok(Self { documents, ahead, unit_bytes, round_bytes, unit: 0, so_far: SoFar::default() })
    }

    /// The next step. `done` gives the record of a unit that is done; it is asked at the start of each.
    pub fn next_step(&mut self, done: &dyn Fn(u64) -> Result<Option<UnitRecord>>, stop: &dyn Fn() -> bool) -> Result<Step> {
        if self.ahead.is_none() {
            return Ok(Step::End);
        }
        let record = if self.so_far.documents == 0 { done(self.unit)? } else { None };
        match record {
            Some(record) => self.pass_over(record, stop),
            None => self.gather(stop),
        }
    }

    fn gather(&mut self, stop: &dyn Fn() -> bool) -> Result<Step> {
        let mut round = Round { unit: self.unit, documents: Vec::new(), end: None };
        let mut bytes = 0;
        while bytes < self.round_bytes && round.end.is_none() {
            if stop() {
                return Ok(Step::Stopped);
            }
            let Some(document) = self.next_document()? else { break };
            bytes += document.document.text.len() as u64 + DOCUMENT_BYTES;
            round.documents.push(document);
            round.end = self.end_if_full();
        }
        Ok(Step::Encode(round))
    }

    fn pass_over(&mut self, record: UnitRecord, stop: &dyn Fn() -> bool) -> Result<Step> {
        loop {
            if stop() {
                return Ok(Step::Stopped);
            }
            self.next_document()?;
            if let Some(end) = self.end_if_full() {
                return Ok(if end == record.end { Step::Kept(record) } else { Step::Changed });
            }
        }
    }

    fn next_document(&mut self) -> Result<Option<HashedDocument>> {
        let Some(document) = self.ahead.take() else { return Ok(None) };
        self.ahead = self.documents.next().transpose()?;
        let hash = blake3::hash(document.text.as_bytes());
        self.so_far.bytes += document.text.len() as u64 + DOCUMENT_BYTES;
        self.so_far.documents += 1;
        self.so_far.hasher.update(hash.as_bytes());
        Ok(Some(HashedDocument { document, hash }))
    }

    /// The end of the unit, if it is full or the corpus has ended.
    fn end_if_full(&mut self) -> Option<UnitEnd> {
        if self.so_far.bytes < self.unit_bytes && self.ahead.is_some() {
            return None;
        }
        let SoFar { documents, hasher, .. } = std::mem::take(&mut self.so_far);
        self.unit += 1;
        Some(UnitEnd { documents, documents_blake3: hasher.finalize().to_hex().to_string() })
    }

    /// Where the documents come from.
    pub fn documents(&self) -> &Documents {
        &self.documents
    }
}
