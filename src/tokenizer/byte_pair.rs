//! Learning a byte-level byte-pair tokenizer from documents. Owns how much of a corpus is looked at, by which options; the counting is the `tokenizers` library's.

use super::parting::PATTERN;
use super::{HuggingFaceTokenizer, SPECIAL_TOKENS, Tokenizer};
use crate::error::catch_panic;
use crate::{Error, Result};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::{byte_level::ByteLevel, sequence::Sequence, split::Split, split::SplitPattern};
use tokenizers::{AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior, Trainer};

type LibraryError = Box<dyn std::error::Error + Send + Sync>;

/// Bytes of the largest sample that can be looked at; the library counts pairs in 31 bits, and no pair is in one byte of text twice.
pub const LARGEST_SAMPLE: u64 = 1 << 30;
/// Bytes of text that are split at one time: the library takes memory for every word of a text that it splits.
const PIECE: usize = 1 << 16;
/// The tokens of single bytes.
const NUM_BYTES: usize = 256;

/// What to learn.
#[derive(Debug, Clone)]
pub struct BytePairOptions {
    /// Tokens in the end: special ones, the 256 bytes, and joined ones.
    pub vocab_size: usize,
    /// A pair that is there less often is not joined. 2 is usual: a pair that is there once says nothing about other text.
    pub min_frequency: u64,
    /// Special tokens beside the four of [`SPECIAL_TOKENS`], with the ids from 4 on: `<|name|>`.
    pub special_tokens: Vec<String>,
    /// Bytes of text to learn from, at the beginning of the documents; at most [`LARGEST_SAMPLE`]. 5 MB of mixed English took 63 MB
    /// of memory.
    pub largest_sample: u64,
}

/// What was learned, and from what.
#[derive(Debug, Clone)]
pub struct BytePairTraining {
    /// Ready for use.
    pub tokenizer: Tokenizer,
    /// Documents that were looked at; of the last one perhaps only the beginning.
    pub documents: u64,
    /// Bytes of text that were looked at.
    pub text_bytes: u64,
    /// Whether there was more text than the sample holds.
    pub is_cut: bool,
    /// Tokens that were asked for and not found: the text is too small or too uniform for them. 0 when all is well.
    pub missing_tokens: usize,
}

impl Tokenizer {
    /// Learns which bytes of `documents` to join into tokens: byte-level byte-pair encoding, which covers every text; the same text gives the
    /// same tokenizer.
    ///
    /// # Errors
    /// Those of `documents`, and options that contradict themselves.
    pub fn train_byte_pair(
        documents: impl IntoIterator<Item = Result<impl AsRef<str>>>,
        options: &BytePairOptions,
    ) -> Result<BytePairTraining> {
        options.validate()?;
        let sample = Sample::collect(documents, options.largest_sample)?;
        let learned = catch_panic(|| learn(options, &sample)).unwrap_or_else(|_| Err("the tokenizers library panicked".into()));
        let learned = learned.map_err(|error| Error::ours(format!("training a tokenizer: {error}")))?;
        let tokenizer = HuggingFaceTokenizer::from_json(&learned)?;
        Ok(BytePairTraining {
            missing_tokens: options.vocab_size.saturating_sub(tokenizer.vocab_size()),
            tokenizer: Tokenizer::HuggingFace(tokenizer),
            documents: sample.documents,
            text_bytes: sample.text_bytes,
            is_cut: sample.is_cut,
        })
    }
}

impl BytePairOptions {
    fn all_special_tokens(&self) -> Vec<String> {
        SPECIAL_TOKENS.iter().map(ToString::to_string).chain(self.special_tokens.iter().cloned()).collect()
    }

    fn validate(&self) -> Result<()> {
        let needed = SPECIAL_TOKENS.len() + self.special_tokens.len() + NUM_BYTES;
        if self.vocab_size < needed || u32::try_from(self.vocab_size).is_err() {
            let message = format!("vocab_size is {}, but the special tokens and the {NUM_BYTES} bytes are {needed}", self.vocab_size);
            return Err(Error::input(message).hint(format!("take {needed} and as many more as tokens are to be learned")));
        }
        if self.largest_sample > LARGEST_SAMPLE {
            return Err(Error::input(format!("the sample is {} bytes", self.largest_sample)).hint(format!("take at most {LARGEST_SAMPLE}")));
        }
        self.special_tokens.iter().enumerate().try_for_each(|(index, token)| self.validate_token(token, index))
    }

    /// A name that signs enclose cannot be learned from text, since signs and letters part there.
    fn validate_token(&self, token: &String, index: usize) -> Result<()> {
        let name = token.strip_prefix("<|").and_then(|rest| rest.strip_suffix("|>")).unwrap_or_default();
        if name.is_empty() || !name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_') {
            return Err(Error::input(format!("the special token {token:?}")).hint("write <|name|>, a name of letters, digits and _"));
        }
        match self.special_tokens[..index].contains(token) {
            true => Err(Error::input(format!("the special token {token:?} is there twice"))),
            false => Ok(()),
        }
    }
}

/// The text that is looked at.
#[derive(Default)]
struct Sample {
    pieces: Vec<String>,
    documents: u64,
    text_bytes: u64,
    is_cut: bool,
}

impl Sample {
    fn collect(documents: impl IntoIterator<Item = Result<impl AsRef<str>>>, largest: u64) -> Result<Self> {
        let mut sample = Self::default();
        for document in documents {
            let document = document?;
            let text = document.as_ref();
            let room = usize::try_from(largest - sample.text_bytes).unwrap_or(usize::MAX);
            let kept = beginning(text, room);
            sample.is_cut |= kept.len() < text.len();
            if sample.is_cut && kept.is_empty() {
                break;
            }
            sample.add(kept);
        }
        Ok(sample)
    }

    fn add(&mut self, text: &str) {
        self.documents += 1;
        self.text_bytes += text.len() as u64;
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(cut(rest));
            self.pieces.push(piece.to_owned());
            rest = behind;
        }
    }
}

/// Where to part a long text: behind the last line break of its first piece, else before the last space, else anywhere.
fn cut(text: &str) -> usize {
    if text.len() <= PIECE {
        return text.len();
    }
    let piece = beginning(text, PIECE);
    let line_end = piece.rfind('\n').map(|at| at + 1);
    line_end.or_else(|| piece.rfind(' ').filter(|&at| at > 0)).unwrap_or(piece.len())
}

/// At most `length` bytes of `text`, in whole characters.
fn beginning(text: &str, length: usize) -> &str {
    (0..=length.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

/// What the library makes of the sample, as the file that it writes.
fn learn(options: &BytePairOptions, sample: &Sample) -> std::result::Result<String, LibraryError> {
    let steps = split_into_bytes()?;
    let special: Vec<AddedToken> = options.all_special_tokens().into_iter().map(|token| AddedToken::from(token, true)).collect();
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(options.vocab_size)
        .min_frequency(options.min_frequency)
        .special_tokens(special.clone())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    trainer.feed(sample.pieces.iter(), |piece| words(&steps, piece))?;
    let mut model = BPE::default();
    trainer.train(&mut model)?;
    let mut library = tokenizers::Tokenizer::new(model);
    library.with_pre_tokenizer(Some(steps)).with_decoder(Some(bytes()));
    library.add_special_tokens(special)?;
    library.to_string(true)
}

fn split_into_bytes() -> std::result::Result<Sequence, LibraryError> {
    let split = Split::new(SplitPattern::Regex(PATTERN.into()), SplitDelimiterBehavior::Isolated, false)?;
    Ok(Sequence::new(vec![split.into(), bytes().into()]))
}

/// Each byte as one character; no space before the first word, so that a text comes back as it was.
fn bytes() -> ByteLevel {
    ByteLevel::new(false, true, false)
}

fn words(steps: &Sequence, piece: &str) -> std::result::Result<Vec<String>, LibraryError> {
    let mut text = PreTokenizedString::from(piece);
    steps.pre_tokenize(&mut text)?;
    Ok(text.get_splits(OffsetReferential::Original, OffsetType::None).into_iter().map(|(word, ..)| word.to_owned()).collect())
}

#[cfg(test)]
#[path = "byte_pair_tests.rs"]
mod tests;
