//! A look at the corpus before anything slow: whether there are documents at all, and whether the wanted share of them holds out enough to
//! measure on. It reads as far as it must: all of a small corpus, the beginning of a large one.

use super::HeldOut;
use super::held_out::Parts;
use crate::data::documents::{DocumentSettings, Documents, Sources};
use crate::error::counted;
use crate::{Error, Result};

/// The loss of fewer documents says more of these than of the model; fewer to train on are no choice either.
const FEWEST_DOCUMENTS: u64 = 4;
/// Of each document where there are few: as is usual for a small corpus. A smaller share of a short document is nothing.
const PERCENT_OF_EACH: f64 = 10.0;

/// What is held out, and why, where it is not what was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// What a preparation of these documents is to hold out.
    pub held_out: HeldOut,
    /// Why it is not the wanted share, as a sentence.
    pub reason: Option<String>,
}

/// How many documents, or parts of some, either split gets.
#[derive(Default)]
struct Count {
    train: u64,
    validation: u64,
}

impl Count {
    fn add(&mut self, parts: Parts<'_>) {
        self.train += u64::from(parts.train.is_some());
        self.validation += u64::from(parts.validation.is_some());
    }

    fn has(&self, least: u64) -> bool {
        self.train.min(self.validation) >= least
    }
}

/// Decides what is held out of the documents of `sources`: the `wanted` share, unless that leaves one side fewer than four documents; then
/// the end of each. The same for the same documents always. None when `stop` says so.
///
/// # Errors
/// Those of [`Documents`], no document, documents too short for either way.
pub fn survey(sources: &Sources, settings: &DocumentSettings, wanted: HeldOut, stop: &(dyn Fn() -> bool + Sync)) -> Result<Option<Survey>> {
    let (otherwise, least) = match wanted {
        HeldOut::DocumentsPercent(percent) => (HeldOut::EndOfEachDocumentPercent(percent.max(PERCENT_OF_EACH)), FEWEST_DOCUMENTS),
        HeldOut::EndOfEachDocumentPercent(_) => (wanted, 1),
    };
    let (mut documents, mut all) = (Documents::new(sources, settings)?, 0);
    let (mut as_wanted, mut ends) = (Count::default(), Count::default());
    while let Some(document) = documents.next().transpose()? {
        if stop() {
            return Ok(None);
        }
        let hash = blake3::hash(document.text.as_bytes());
        all += 1;
        as_wanted.add(wanted.parts(&document.text, &hash));
        if as_wanted.has(least) {
            return Ok(Some(Survey { held_out: wanted, reason: None }));
        }
        if !ends.has(1) {
            ends.add(otherwise.parts(&document.text, &hash));
        }
    }
    match (all, ends.has(1)) {
        (0, _) => Err(documents.skipped().no_documents()),
        (_, false) => Err(nothing_on_a_side(otherwise, ends.train)),
        (_, true) => Ok(Some(Survey { held_out: otherwise, reason: Some(too_few(wanted, all, as_wanted.validation)) })),
    }
}

fn too_few(wanted: HeldOut, all: u64, held_out: u64) -> String {
    let (documents, percent) = (counted(all, "document"), wanted.percent());
    format!(
        "of {documents} {held_out} would be held out at {percent} percent, and {} a side are the least",
        counted(FEWEST_DOCUMENTS, "document")
    )
}

/// The error for a corpus of which `num_train` documents are to train on and none is held out, or the other way round.
pub(super) fn nothing_on_a_side(held_out: HeldOut, num_train: u64) -> Error {
    let percent = held_out.percent();
    let (key, what) = match held_out {
        HeldOut::DocumentsPercent(_) => ("end_of_each_document_percent", "holds out the end of each document"),
        HeldOut::EndOfEachDocumentPercent(_) => ("end_of_each_document_percent", "leaves something on both sides: the documents are short"),
    };
    let message = match num_train {
        0 => format!("all documents are held out at {percent} percent"),
        _ => format!("no document is held out at {percent} percent: there are only {num_train}"),
    };
    Error::input(message).hint(format!("--set data.text.held_out.{key}={} {what}", if percent < 50.0 { 50 } else { 10 }))
}
