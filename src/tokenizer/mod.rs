//! Text to token ids and back. Owns the closed set of tokenizers and the Hugging Face `tokenizer.json` that each is saved as; which
//! alphabet a task needs is the task's business.

mod characters;

pub use characters::CharacterTokenizer;

use crate::Result;

/// Id of the token that fills a row up; the loss never looks at it.
pub const PAD_ID: u32 = 0;
/// Id of the token that opens a text.
pub const BOS_ID: u32 = 1;
/// Id of the token that ends a text.
pub const EOS_ID: u32 = 2;
/// Id that stands for text outside the vocabulary. No `encode` here makes it; readers of the `tokenizer.json` may.
pub const UNK_ID: u32 = 3;
/// The special tokens; the position of each is its id.
pub const SPECIAL_TOKENS: [&str; 4] = ["<pad>", "<bos>", "<eos>", "<unk>"];

/// How text becomes token ids and back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tokenizer {
    /// One token for each character of an alphabet.
    Characters(CharacterTokenizer),
}

impl Tokenizer {
    /// A token for each character of `alphabet`, in its order from id 4 on; ids from there up to `vocab_size` are reserved.
    ///
    /// # Errors
    /// A character that is there twice, or an alphabet that does not fit into `vocab_size`.
    pub fn characters(alphabet: &str, vocab_size: usize) -> Result<Self> {
        CharacterTokenizer::new(alphabet, vocab_size).map(Self::Characters)
    }

    /// Reads a `tokenizer.json` that [`Tokenizer::to_json`] wrote.
    ///
    /// # Errors
    /// Text that is not such a file; the message names the part, the caller adds the path.
    pub fn from_json(text: &str) -> Result<Self> {
        CharacterTokenizer::from_json(text).map(Self::Characters)
    }

    /// A Hugging Face `tokenizer.json`: the `tokenizers` library reads it and gives the same ids.
    ///
    /// # Errors
    /// Only if serialization itself fails, which is ours.
    pub fn to_json(&self) -> Result<String> {
        match self {
            Self::Characters(characters) => characters.to_json(),
        }
    }

    /// Token ids of `text`, without any special token.
    ///
    /// # Errors
    /// Text that the vocabulary does not cover: the message names the character and its offset, counted in characters from 0.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match self {
            Self::Characters(characters) => characters.encode(text),
        }
    }

    /// The text of `ids`. Special, reserved and unknown ids add nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        match self {
            Self::Characters(characters) => characters.decode(ids),
        }
    }

    /// Number of ids, special and reserved ones included.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Characters(characters) => characters.vocab_size(),
        }
    }

    /// Id of `<pad>`.
    pub fn pad_id(&self) -> u32 {
        PAD_ID
    }

    /// Id of `<bos>`.
    pub fn bos_id(&self) -> u32 {
        BOS_ID
    }

    /// Id of `<eos>`, where generation stops.
    pub fn eos_id(&self) -> u32 {
        EOS_ID
    }
}
