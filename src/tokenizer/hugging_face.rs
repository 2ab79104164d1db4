//! A tokenizer out of a foreign `tokenizer.json`, run by the `tokenizers` library. Owns what that library must not do here: panic, take
//! text for special tokens, or lose text without a word. `file` owns what a file may hold.

use super::byte_level;
use super::file::{AddedToken, TokenizerFile};
use super::growth::Growth;
use super::parting::{PIECE_BYTES, Parting};
use super::special::{SpecialIds, SpecialToken};
use crate::error::catch_panic;
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// A foreign tokenizer; a copy of it shares its tables.
#[derive(Clone)]
pub struct HuggingFaceTokenizer {
    shared: Arc<Shared>,
}

struct Shared {
    /// The file as it was read.
    json: String,
    library: tokenizers::Tokenizer,
    special_ids: SpecialIds,
    special_tokens: Vec<SpecialToken>,
    parting: Parting,
    growth: Growth,
    longest: Longest,
    /// By id.
    tokens: Vec<Token>,
    is_byte_level: bool,
    is_lossless: bool,
    has_byte_tokens: bool,
}

/// The longest text of a token that text becomes.
#[derive(Debug, Clone, Copy)]
enum Longest {
    /// Each token is its bytes, and nothing is lost.
    Bytes(usize),
    /// Each token is its characters, or one byte; spaces are characters, too.
    Characters(usize),
    /// A token may stand for any text.
    Unknown,
}

struct Token {
    /// Text never becomes this token, and decoding leaves it out.
    is_special: bool,
    /// Its bytes; where tokens are not bytes, its name.
    content: Box<[u8]>,
}

impl HuggingFaceTokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// The user's: text that is no such file.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::unless_ours(text)?.ok_or_else(|| Error::input("this is a tokenizer of characters"))
    }

    /// Reads a `tokenizer.json`; none for one of this program's character tokenizers.
    pub(super) fn unless_ours(text: &str) -> Result<Option<Self>> {
        let Some(file) = TokenizerFile::parse(text)? else { return Ok(None) };
        let library = guarded(|| tokenizers::Tokenizer::deserialize(&file.value));
        let library = library.map_err(|error| error.context("not a tokenizer.json"))?;
        let growth = Growth::of_file(&file.value)?;
        let mut shared = Shared::new(text, library, &file, growth);
        shared.refuse_other_ids(&file)?;
        shared.library.set_encode_special_tokens(true); // what looks special in a text is text
        Ok(Some(Self { shared: Arc::new(shared) }))
    }

    /// The file as it was read.
    ///
    /// # Errors
    /// None; other tokenizers have some.
    pub fn to_json(&self) -> Result<String> {
        Ok(self.shared.json.clone())
    }

    /// Ids of `text`.
    ///
    /// # Errors
    /// The user's: text that the tokenizer has no tokens for, or that it cannot tell from a special token.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.shared.growth.check(text)?;
        let mut ids = Vec::new();
        for piece in self.shared.parting.pieces(text, PIECE_BYTES) {
            let encoding = guarded(|| self.shared.library.encode_fast(piece, false))?;
            self.shared.check(encoding.get_ids(), piece)?;
            ids.extend_from_slice(encoding.get_ids());
        }
        Ok(ids)
    }

    /// Ids of each of `texts`, on all processors.
    ///
    /// # Errors
    /// Those of [`HuggingFaceTokenizer::encode`].
    pub fn encode_batch(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        let fits = |(index, text): (usize, &&str)| self.shared.growth.check(text).map_err(|error| in_batch(error, index));
        texts.iter().enumerate().try_for_each(fits)?;
        let encodings = guarded(|| self.shared.library.encode_batch_fast(texts.to_vec(), false))?;
        let checked = |(index, (encoding, text)): (usize, (&tokenizers::Encoding, &&str))| {
            self.shared.check(encoding.get_ids(), text).map_err(|error| in_batch(error, index))?;
            Ok(encoding.get_ids().to_vec())
        };
        encodings.iter().zip(texts).enumerate().map(checked).collect()
    }

    /// Whether `text` certainly has more than `count` tokens.
    pub fn cannot_fit(&self, text: &str, count: usize) -> bool {
        match self.shared.longest {
            Longest::Bytes(longest) => text.len() / longest.max(1) > count,
            Longest::Characters(longest) => text.len() / longest.max(1) > count && text.chars().count() / longest.max(1) > count,
            Longest::Unknown => false,
        }
    }

    /// The text of `ids`. A file whose decoder fails on them gives the tokens as they are written.
    pub fn decode(&self, ids: &[u32]) -> String {
        if self.shared.is_byte_level {
            let bytes: Vec<u8> = ids.iter().flat_map(|id| self.bytes_of(*id)).copied().collect();
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        guarded(|| self.shared.library.decode(ids, true)).unwrap_or_else(|_| self.names(ids))
    }

    fn names(&self, ids: &[u32]) -> String {
        ids.iter().map(|id| String::from_utf8_lossy(self.bytes_of(*id))).collect()
    }

    /// Number of ids.
    pub fn vocab_size(&self) -> usize {
        self.shared.tokens.len()
    }

    /// Ids with a role.
    pub fn special_ids(&self) -> SpecialIds {
        self.shared.special_ids
    }

    /// Tokens that text never becomes.
    pub fn special_tokens(&self) -> &[SpecialToken] {
        &self.shared.special_tokens
    }

    /// Bytes that `id` adds to a text that it does not open.
    pub fn token_bytes(&self, id: u32) -> usize {
        if self.shared.is_byte_level || self.bytes_of(id).is_empty() {
            return self.bytes_of(id).len();
        }
        match self.is_single_byte(id) {
            true => 1,
            false => self.decode(&[id, id]).len().saturating_sub(self.decode(&[id]).len()),
        }
    }

    /// Bytes of the longest token; none where the file's normalizer, or an unknown token, may stand for any amount of text.
    pub fn most_bytes_of_a_token(&self) -> Option<usize> {
        let shared = &self.shared;
        // Of a text for [`Parting::AtSpace`] a space becomes three bytes of a token, and a character that has none becomes its bytes.
        let keeps_all = shared.is_lossless || shared.parting == Parting::AtSpace && shared.has_byte_tokens;
        let longest = shared.tokens.iter().filter(|token| !token.is_special).map(|token| token.content.len()).max();
        longest.filter(|_| keeps_all)
    }

    /// The bytes that `id` stands for, or its name if it is special.
    pub fn content(&self, id: u32) -> Vec<u8> {
        let name = || self.shared.tokens.get(id as usize).map_or(Vec::new(), |token| token.content.to_vec());
        match self.bytes_of(id) {
            [] => name(),
            bytes if self.shared.is_byte_level => bytes.to_vec(),
            [b'<', b'0', b'x', digits @ .., b'>'] if self.is_single_byte(id) => hexadecimal(digits).map_or_else(name, |byte| vec![byte]),
            // Behind another token it keeps the space that decoders leave out at the beginning of a text.
            _ => {
                let (one, two) = (self.decode(&[id]), self.decode(&[id, id]));
                two.strip_prefix(&one).map_or_else(name, |text| text.as_bytes().to_vec())
            }
        }
    }

    /// Whether each token is bytes, so that decoding joins them and nothing else.
    pub(super) fn is_byte_level(&self) -> bool {
        self.shared.is_byte_level
    }

    /// The bytes of a byte-level token, the name of another; none of a special or unknown one.
    pub(super) fn bytes_of(&self, id: u32) -> &[u8] {
        self.shared.tokens.get(id as usize).filter(|token| !token.is_special).map_or(&[], |token| &token.content)
    }

    /// Whether `id` is `<0xE6>` or the like, one byte among tokens that are characters.
    pub(super) fn is_single_byte(&self, id: u32) -> bool {
        let name = self.bytes_of(id);
        self.shared.has_byte_tokens && name.len() == 6 && name.starts_with(b"<0x") && name.ends_with(b">")
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
}

impl Shared {
    fn new(text: &str, library: tokenizers::Tokenizer, file: &TokenizerFile, growth: Growth) -> Self {
        let value = &file.value;
        let is_byte_level = value["decoder"]["type"] == "ByteLevel" && value["normalizer"].is_null();
        let is_plain = |token: &AddedToken| token.is_special || token.content.is_ascii() && !token.is_greedy;
        let content = |token: &String| if is_byte_level { byte_level::bytes_of(token) } else { token.as_bytes().to_vec() };
        let token = |token: &String| Token { is_special: false, content: content(token).into() };
        let mut tokens: Vec<Token> = file.tokens.iter().map(token).collect();
        file.added.iter().filter(|token| token.is_special).for_each(|token| tokens[token.id as usize].is_special = true);
        let is_lossless = is_byte_level && has_byte_level_step(&value["pre_tokenizer"]) && file.added.iter().all(is_plain);
        let (parting, has_byte_tokens) = (Parting::of(file), value["model"]["byte_fallback"] == true);
        let longest = match (is_lossless, parting) {
            (true, _) => {
                Longest::Bytes(tokens.iter().filter(|token| !token.is_special).map(|token| token.content.len()).max().unwrap_or_default())
            }
            (_, Parting::AtSpace) if has_byte_tokens => {
                Longest::Characters(file.tokens.iter().map(|token| token.chars().count()).max().unwrap_or_default())
            }
            _ => Longest::Unknown,
        };
        Self {
            json: text.to_owned(),
            library,
            special_ids: file.special_ids,
            special_tokens: file.added.iter().filter(|token| token.is_special).map(AddedToken::to_special).collect(),
            parting,
            growth,
            longest,
            tokens,
            is_byte_level,
            is_lossless,
            has_byte_tokens,
        }
    }

    /// The library gives an added token the next free id, whatever the file says.
    fn refuse_other_ids(&self, file: &TokenizerFile) -> Result<()> {
        for token in &file.added {
            let given = self.library.token_to_id(&token.content);
            if given != Some(token.id) {
                let given = given.map_or("none".into(), |id| id.to_string());
                let message = format!("not a tokenizer.json: {:?} has id {}, but comes where {given} is due", token.content, token.id);
                return Err(Error::input(message).hint("added tokens stand in the order of their ids, behind those of the model"));
            }
        }
        Ok(())
    }

    /// Refuses `ids` that are not all of `text`, or more than it.
    fn check(&self, ids: &[u32], text: &str) -> Result<()> {
        let token = |id: u32| self.tokens.get(id as usize);
        if let Some(id) = ids.iter().find(|id| token(**id).is_some_and(|token| token.is_special) && !self.is_unknown(**id)) {
            let name = self.library.id_to_token(*id).unwrap_or_default();
            return Err(Error::input(format!("the text holds {name:?}, which this tokenizer cannot tell from its special token {id}")));
        }
        let num_bytes: usize = ids.iter().filter_map(|id| token(*id)).map(|token| token.content.len()).sum();
        if self.is_lossless && num_bytes < text.len() {
            let message = format!("the tokenizer loses {} of {} bytes of the text", text.len() - num_bytes, text.len());
            return Err(Error::input(message)
                .hint("its vocabulary lacks bytes, or the text has a run of a million spaces, which its pattern cannot take"));
        }
        Ok(())
    }

    /// Text outside the vocabulary does become this one.
    fn is_unknown(&self, id: u32) -> bool {
        let unknown = match self.library.get_model() {
            tokenizers::ModelWrapper::BPE(model) => model.unk_token.as_deref(),
            tokenizers::ModelWrapper::WordPiece(model) => Some(model.unk_token.as_str()),
            tokenizers::ModelWrapper::WordLevel(model) => Some(model.unk_token.as_str()),
            tokenizers::ModelWrapper::Unigram(_) => Some("<unk>"),
        };
        unknown.is_some_and(|unknown| self.library.token_to_id(unknown) == Some(id))
    }
}

fn has_byte_level_step(pre_tokenizer: &Value) -> bool {
    let steps = pre_tokenizer["pretokenizers"].as_array();
    pre_tokenizer["type"] == "ByteLevel" || steps.is_some_and(|steps| steps.iter().any(|step| step["type"] == "ByteLevel"))
}

/// What the library makes, its errors and panics as the user's: its input is the file or the text.
fn guarded<T, E: fmt::Display>(body: impl FnOnce() -> std::result::Result<T, E>) -> Result<T> {
    match catch_panic(body) {
        Ok(made) => made.map_err(Error::input),
        Err(_) => Err(Error::input("the tokenizers library cannot take it")),
    }
}

/// Says which text of a batch an error is about.
pub(super) fn in_batch(error: Error, index: usize) -> Error {
    error.context(format!("text {index} of the batch"))
}

/// Two tokenizers are one when their files are.
impl PartialEq for HuggingFaceTokenizer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared) || self.shared.json == other.shared.json
    }
}

impl Eq for HuggingFaceTokenizer {}

/// Not the tables, which are long.
impl fmt::Debug for HuggingFaceTokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let special_ids = &self.shared.special_ids;
        formatter.debug_struct("HuggingFaceTokenizer").field("vocab_size", &self.vocab_size()).field("special_ids", special_ids).finish()
    }
}

#[cfg(test)]
#[path = "hugging_face_tests.rs"]
mod tests;
