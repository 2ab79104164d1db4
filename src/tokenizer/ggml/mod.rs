//! A tokenizer as the `tokenizer.ggml.*` keys of a GGUF file have it: tokens by id with their kinds, merges or scores, and the name of the
//! rule that parts words. Owns what of it is a `tokenizer.json` and back; where the keys stand is the business of whoever has the file.
//!
//! Both ways are for programs that know nothing else: a file of ours also holds the `tokenizer.json` itself.

mod pre_tokenizers;
mod read;
#[cfg(test)]
mod tests;
mod write;

/// The mark of a space in tokens that are characters.
const SPACE: char = '\u{2581}';

/// What a token is, by its number in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Text.
    Normal = 1,
    /// Stands for what has no token.
    Unknown,
    /// Never text.
    Control,
    /// Text that is looked for before anything else.
    UserDefined,
    /// Stands for nothing.
    Unused,
    /// One byte, named `<0xE6>` or the like.
    Byte,
}

impl TokenKind {
    /// The kind that a file means by `id`.
    pub fn of_id(id: i64) -> Option<Self> {
        let kinds = [Self::Normal, Self::Unknown, Self::Control, Self::UserDefined, Self::Unused, Self::Byte];
        kinds.into_iter().find(|kind| *kind as i64 == id)
    }
}

/// How tokens make texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VocabularyModel {
    /// `gpt2`: merges of byte-level tokens, ranked.
    BytePair,
    /// `llama`: tokens are characters, and those with the best score are made first.
    Scored,
}

impl VocabularyModel {
    /// As `tokenizer.ggml.model` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BytePair => "gpt2",
            Self::Scored => "llama",
        }
    }
}

/// The values of the keys `tokenizer.ggml.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct GgmlVocabulary {
    /// `model`.
    pub model: VocabularyModel,
    /// `pre`: which rule parts words; some old files do not say.
    pub pre: Option<String>,
    /// `tokens`, by id.
    pub tokens: Vec<String>,
    /// `token_type`: as many as tokens, or none, which makes all normal.
    pub kinds: Vec<TokenKind>,
    /// `scores`: as many as tokens where the model is scored.
    pub scores: Vec<f32>,
    /// `merges`, best first, each two tokens with a space between them.
    pub merges: Vec<String>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `unknown_token_id`.
    pub unknown: Option<u32>,
    /// `padding_token_id`.
    pub padding: Option<u32>,
    /// `add_bos_token`: whether a text opens with `bos`; a rule of the model where it is none.
    pub adds_bos: Option<bool>,
    /// `add_space_prefix`: whether a text opens with a space where the model is scored; it does where it is none.
    pub adds_space: Option<bool>,
}
