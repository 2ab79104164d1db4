//! Which text is held out.

use super::HeldOut;

/// What a document gives to either split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub train: Option<&'a str>,
    pub validation: Option<&'a str>,
}

impl HeldOut {
    /// What of `text`, whose hash is `hash`, goes where.
    pub(super) fn parts<'a>(self, text: &'a str, hash: &blake3::Hash) -> Parts<'a> {
        match self {
            Self::DocumentsPercent(percent) if is_chosen(hash, percent) => Parts { train: None, validation: Some(text) },
            Self::DocumentsPercent(_) => Parts { train: Some(text), validation: None },
            Self::EndOfEachDocumentPercent(percent) => {
                let (train, validation) = text.split_at(cut(text, percent));
                let unless_empty = |part: &'a str| (!part.is_empty()).then_some(part);
                Parts { train: unless_empty(train), validation: unless_empty(validation) }
            }
        }
    }
}

/// Whether a document is among the `percent` of all: its hash as a fraction of all hashes.
fn is_chosen(hash: &blake3::Hash, percent: f64) -> bool {
    const BITS: i32 = 53; // As many as a float holds.
    let high = hash.as_bytes().iter().take(8).fold(0u64, |number, &byte| number << 8 | u64::from(byte));
    let fraction = (high >> (64 - BITS)) as f64 / 2f64.powi(BITS);
    fraction < percent / 100.0
}

/// The byte at which the last `percent` of the characters begin, rounded to whole characters.
fn cut(text: &str, percent: f64) -> usize {
    let num_characters = text.chars().count();
    let num_held_out = (num_characters as f64 * percent / 100.0).round() as usize;
    let first_held_out = num_characters.saturating_sub(num_held_out);
    text.char_indices().nth(first_held_out).map_or(text.len(), |(at, _)| at)
}
