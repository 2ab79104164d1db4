//! One token for each character of an alphabet, and its `tokenizer.json`: byte-pair encoding without merges, which is the same thing.
//! Owns the order of ids; which characters an experiment needs is its task's business.

use super::special::{SPECIAL_TOKENS, UNK_ID};
use crate::{Context, Error, Result};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Distinct characters beyond which a tokenizer of characters makes no sense: the everyday characters of Chinese are fewer.
pub const LARGEST_ALPHABET: usize = 10_000;

/// Ids 0 to 3 are special, then comes the alphabet in its order, then reserved ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CharacterTokenizer {
    alphabet: Vec<char>,
    ids: HashMap<char, u32>,
    vocab_size: usize,
}

impl CharacterTokenizer {
    /// A token for each character of `alphabet`; ids beyond it up to `vocab_size` are reserved.
    ///
    /// # Errors
    /// A character that is there twice, or an alphabet that does not fit into `vocab_size`.
    pub fn new(alphabet: &str, vocab_size: usize) -> Result<Self> {
        let alphabet: Vec<char> = alphabet.chars().collect();
        let needed = SPECIAL_TOKENS.len() + alphabet.len();
        if needed > vocab_size || u32::try_from(vocab_size).is_err() {
            let message = format!(
                "vocab_size is {vocab_size}, but {} special tokens and {} characters need {needed}",
                SPECIAL_TOKENS.len(),
                alphabet.len()
            );
            return Err(Error::input(message).hint(format!("set model.vocab_size to {needed} or more")));
        }
        let mut ids = HashMap::new();
        for (&character, id) in alphabet.iter().zip(SPECIAL_TOKENS.len() as u32..) {
            if ids.insert(character, id).is_some() {
                return Err(Error::input(format!("the alphabet has {character:?} twice")));
            }
        }
        Ok(Self { alphabet, ids, vocab_size })
    }

    /// A token for each character that `documents` hold, in code point order, and no reserved ids.
    ///
    /// # Errors
    /// Those of `documents`, and more than [`LARGEST_ALPHABET`] characters.
    pub fn of_documents(documents: impl IntoIterator<Item = Result<impl AsRef<str>>>) -> Result<Self> {
        let mut alphabet = BTreeSet::new();
        for document in documents {
            alphabet.extend(document?.as_ref().chars());
            if alphabet.len() > LARGEST_ALPHABET {
                return Err(Error::input(format!("the documents hold more than {LARGEST_ALPHABET} different characters"))
                    .hint("take a byte-pair tokenizer, which covers every character with a vocabulary of any size"));
            }
        }
        Self::new(&String::from_iter(&alphabet), SPECIAL_TOKENS.len() + alphabet.len())
    }

    /// Ids of the characters of `text`.
    ///
    /// # Errors
    /// A character outside the alphabet, with its offset in characters.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let id_of = |(offset, character)| self.ids.get(&character).copied().ok_or_else(|| self.unknown(character, offset));
        text.chars().enumerate().map(id_of).collect()
    }

    fn unknown(&self, character: char, offset: usize) -> Error {
        let alphabet: String = self.alphabet.iter().collect();
        Error::input(format!("the character {character:?} at offset {offset} is not in the tokenizer's alphabet"))
            .hint(format!("the alphabet is {alphabet:?}"))
    }

    /// Whether `text` has more than `count` characters.
    pub fn cannot_fit(&self, text: &str, count: usize) -> bool {
        text.chars().nth(count).is_some()
    }

    /// The characters of `ids`. Special, reserved and unknown ids add nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        ids.iter().filter_map(|&id| self.character(id)).collect()
    }

    fn character(&self, id: u32) -> Option<char> {
        let position = (id as usize).checked_sub(SPECIAL_TOKENS.len())?;
        self.alphabet.get(position).copied()
    }

    /// Bytes of the text of `id`; 0 for special, reserved and unknown ids.
    pub fn token_bytes(&self, id: u32) -> usize {
        self.character(id).map_or(0, char::len_utf8)
    }

    /// Bytes of the longest character; encoding refuses what it has no token for, so none is left out.
    pub fn most_bytes_of_a_token(&self) -> Option<usize> {
        Some(self.alphabet.iter().map(|character| character.len_utf8()).max().unwrap_or(1))
    }

    /// The character of `id`, or its name if it is none.
    pub fn content(&self, id: u32) -> Vec<u8> {
        if (id as usize) < self.vocab_size { self.token(id).into_bytes() } else { Vec::new() }
    }

    /// Number of ids, special and reserved ones included.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The text that stands for `id` in `tokenizer.json`.
    pub(super) fn token(&self, id: u32) -> String {
        match (SPECIAL_TOKENS.get(id as usize), self.character(id)) {
            (Some(special), _) => (*special).to_owned(),
            (None, Some(character)) => character.to_string(),
            (None, None) => reserved(id as usize - SPECIAL_TOKENS.len() - self.alphabet.len()),
        }
    }

    /// The `tokenizer.json` of this tokenizer.
    ///
    /// # Errors
    /// Only if serialization itself fails.
    pub fn to_json(&self) -> Result<String> {
        let vocabulary: Vec<String> = (0..self.vocab_size as u32).map(|id| self.token(id)).collect();
        let is_special = |id: &u32| self.character(*id).is_none();
        let added = (0..self.vocab_size as u32).filter(is_special).map(|id| AddedToken::special(id, self.token(id))).collect();
        serde_json::to_string_pretty(&TokenizerFile::new(added, vocabulary)).context(|| "writing a tokenizer as JSON")
    }

    /// Reads what [`CharacterTokenizer::to_json`] wrote.
    ///
    /// # Errors
    /// JSON that is not a character tokenizer with these special tokens; the message says where.
    pub fn from_json(text: &str) -> Result<Self> {
        let file: SavedTokenizer =
            serde_json::from_str(text).map_err(|error| foreign(format!("not a tokenizer that this program wrote: {error}")))?;
        if file.model.kind != "BPE" || !file.model.merges.is_empty() {
            return Err(foreign(format!("model: {} with {} merges, not one token a character", file.model.kind, file.model.merges.len())));
        }
        let tokens = in_order_of_ids(file.model.vocab)?;
        let is_character = |token: &&String| token.chars().count() == 1;
        let alphabet: String = tokens.iter().skip(SPECIAL_TOKENS.len()).take_while(is_character).map(String::as_str).collect();
        let tokenizer = Self::new(&alphabet, tokens.len())?;
        match (0..tokens.len() as u32).zip(&tokens).find(|(id, token)| tokenizer.token(*id) != **token) {
            Some((id, token)) => Err(foreign(format!("model.vocab: {token:?} has id {id}, where {:?} belongs", tokenizer.token(id)))),
            None => Ok(tokenizer),
        }
    }
}

fn reserved(index: usize) -> String {
    format!("<reserved_{index}>")
}

fn foreign(message: String) -> Error {
    Error::input(message).hint("the file begins as those of this program's character tokenizers do, and then differs")
}

/// The tokens of a vocabulary by id, which must run from 0 without a gap.
fn in_order_of_ids(vocabulary: BTreeMap<String, u32>) -> Result<Vec<String>> {
    let mut by_id: Vec<(u32, String)> = vocabulary.into_iter().map(|(token, id)| (id, token)).collect();
    by_id.sort();
    match by_id.iter().zip(0..).find(|((id, _), expected)| id != expected) {
        Some(((id, token), expected)) => Err(foreign(format!("model.vocab: {token:?} has id {id}, where {expected} belongs"))),
        None => Ok(by_id.into_iter().map(|(_, token)| token).collect()),
    }
}

/// What is read back of a `tokenizer.json`.
#[derive(Deserialize)]
struct SavedTokenizer {
    model: SavedModel,
}

#[derive(Deserialize)]
struct SavedModel {
    #[serde(rename = "type")]
    kind: String,
    vocab: BTreeMap<String, u32>,
    merges: Vec<serde_json::Value>,
}

/// A `tokenizer.json`, key for key; keys that are null must still be there.
#[derive(Serialize)]
struct TokenizerFile {
    version: &'static str,
    truncation: (),
    padding: (),
    added_tokens: Vec<AddedToken>,
    normalizer: (),
    pre_tokenizer: (),
    post_processor: (),
    decoder: Decoder,
    model: Model,
}

#[derive(Serialize)]
struct AddedToken {
    id: u32,
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

/// Joins tokens without the space that is put between them by default.
#[derive(Serialize)]
struct Decoder {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Model {
    #[serde(rename = "type")]
    kind: &'static str,
    dropout: (),
    unk_token: &'static str,
    continuing_subword_prefix: (),
    end_of_word_suffix: (),
    fuse_unk: bool,
    byte_fallback: bool,
    ignore_merges: bool,
    #[serde(serialize_with = "as_map_to_ids")]
    vocab: Vec<String>,
    merges: [(); 0],
}

impl TokenizerFile {
    fn new(added_tokens: Vec<AddedToken>, vocab: Vec<String>) -> Self {
        let model = Model {
            kind: "BPE",
            dropout: (),
            unk_token: SPECIAL_TOKENS[UNK_ID as usize],
            continuing_subword_prefix: (),
            end_of_word_suffix: (),
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges: false,
            vocab,
            merges: [],
        };
        let decoder = Decoder { kind: "Fuse" };
        Self {
            version: "1.0",
            truncation: (),
            padding: (),
            added_tokens,
            normalizer: (),
            pre_tokenizer: (),
            post_processor: (),
            decoder,
            model,
        }
    }
}

impl AddedToken {
    fn special(id: u32, content: String) -> Self {
        Self { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
    }
}

/// Writes tokens as a map from each to its position.
fn as_map_to_ids<S: Serializer>(tokens: &[String], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(tokens.len()))?;
    for (token, id) in tokens.iter().zip(0u32..) {
        map.serialize_entry(token, &id)?;
    }
    map.end()
}

#[cfg(test)]
#[path = "characters_tests.rs"]
mod tests;
