//! Text to token ids and back. Owns the closed set of tokenizers and the Hugging Face `tokenizer.json` that each is saved as; a
//! task knows its alphabet, and an experiment's config says which tokenizer it takes.

mod byte_level;
mod byte_pair;
mod characters;
mod file;
mod ggml;
mod growth;
mod hugging_face;
mod parting;
mod special;
mod stream;
mod template;

pub use byte_pair::{BytePairOptions, BytePairTraining, LARGEST_SAMPLE};
pub use characters::{CharacterTokenizer, LARGEST_ALPHABET};
pub use file::LARGEST_FILE;
pub use ggml::{GgmlVocabulary, TokenKind, VocabularyModel};
pub use hugging_face::HuggingFaceTokenizer;
pub use special::{BOS_ID, EOS_ID, PAD_ID, SPECIAL_TOKENS, SpecialToken, UNK_ID};
pub use stream::Stream;
pub use template::{ChatTemplate, Message};

use crate::Result;
use hugging_face::in_batch;

/// How text becomes token ids and back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tokenizer {
    /// One token for each character of an alphabet.
    Characters(CharacterTokenizer),
    /// Any other `tokenizer.json`.
    HuggingFace(HuggingFaceTokenizer),
}

/// Does to either kind of tokenizer what both can do.
macro_rules! either {
    ($self:expr, $tokenizer:ident => $does:expr) => {
        match $self {
            Self::Characters($tokenizer) => $does,
            Self::HuggingFace($tokenizer) => $does,
        }
    };
}

impl Tokenizer {
    /// A token for each character of `alphabet`, in its order from id 4 on; ids from there up to `vocab_size` are reserved.
    ///
    /// # Errors
    /// A character that is there twice, or an alphabet that does not fit into `vocab_size`.
    pub fn characters(alphabet: &str, vocab_size: usize) -> Result<Self> {
        CharacterTokenizer::new(alphabet, vocab_size).map(Self::Characters)
    }

    /// A token for each character that `documents` hold, in code point order from id 4 on, and no reserved ids. All of the documents
    /// have to be there: encoding refuses a character that was in none.
    ///
    /// # Errors
    /// Those of `documents`, and more than [`LARGEST_ALPHABET`] characters.
    pub fn characters_of(documents: impl IntoIterator<Item = Result<impl AsRef<str>>>) -> Result<Self> {
        CharacterTokenizer::of_documents(documents).map(Self::Characters)
    }

    /// Reads a `tokenizer.json`: one that [`Tokenizer::to_json`] wrote, or any other.
    ///
    /// # Errors
    /// Text that is not such a file; the message names the part, the caller adds the path.
    pub fn from_json(text: &str) -> Result<Self> {
        if let Some(foreign) = HuggingFaceTokenizer::unless_ours(text)? {
            return Ok(Self::HuggingFace(foreign));
        }
        CharacterTokenizer::from_json(text).map(Self::Characters)
    }

    /// A Hugging Face `tokenizer.json`: the `tokenizers` library reads it and gives the same ids. Of a file that was read, its text
    /// byte for byte.
    ///
    /// # Errors
    /// Only if serialization itself fails, which is ours.
    pub fn to_json(&self) -> Result<String> {
        either!(self, tokenizer => tokenizer.to_json())
    }

    /// Token ids of `text`, without any special token: what looks like one in `text` is text.
    ///
    /// # Errors
    /// Text that the vocabulary does not cover. Of characters the message names the first that is missing and its offset, counted in
    /// characters from 0.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        either!(self, tokenizer => tokenizer.encode(text))
    }

    /// [`Tokenizer::encode`] of each of `texts`, on all processors unless a token is a character. Memory grows with the texts of the
    /// batch, which is best some megabytes.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode`], with the position of the text.
    pub fn encode_batch(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        match self {
            Self::Characters(characters) => {
                let encoded = |(index, text): (usize, &&str)| characters.encode(text).map_err(|error| in_batch(error, index));
                texts.iter().enumerate().map(encoded).collect()
            }
            Self::HuggingFace(tokenizer) => tokenizer.encode_batch(texts),
        }
    }

    /// Whether `text` certainly has more than `count` tokens, which is told from its length alone: to be asked before a text of a stranger is
    /// encoded. False where the tokenizer may make a long text one token.
    pub fn cannot_fit(&self, text: &str, count: usize) -> bool {
        either!(self, tokenizer => tokenizer.cannot_fit(text, count))
    }

    /// The text of `ids`. Special, reserved and unknown ids add nothing; bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        either!(self, tokenizer => tokenizer.decode(ids))
    }

    /// Number of ids, special and reserved ones included: the largest id and one more.
    pub fn vocab_size(&self) -> usize {
        either!(self, tokenizer => tokenizer.vocab_size())
    }

    /// Bytes of text that `id` stands for; 0 for special, reserved and unknown ids. Exact for characters and for byte-level tokens;
    /// other kinds of `tokenizer.json` may count a space that opens a text and decodes to nothing.
    pub fn token_bytes(&self, id: u32) -> usize {
        either!(self, tokenizer => tokenizer.token_bytes(id))
    }

    /// The most bytes of text that become one token, so that a text of more than n times as many is more than n tokens; none where a
    /// tokenizer may leave some of a text out, as some normalizers do.
    pub fn most_bytes_of_a_token(&self) -> Option<usize> {
        either!(self, tokenizer => tokenizer.most_bytes_of_a_token())
    }

    /// The bytes that `id` stands for, which may be a part of a character; of a special or reserved id its name; none of an unknown one.
    pub fn content(&self, id: u32) -> Vec<u8> {
        either!(self, tokenizer => tokenizer.content(id))
    }

    /// Tokens that text never becomes.
    pub fn special_tokens(&self) -> &[SpecialToken] {
        match self {
            Self::Characters(_) => special::of_characters(),
            Self::HuggingFace(tokenizer) => tokenizer.special_tokens(),
        }
    }

    /// Id of the token for filling up, if there is one.
    pub fn pad_id(&self) -> Option<u32> {
        match self {
            Self::Characters(_) => Some(PAD_ID),
            Self::HuggingFace(tokenizer) => tokenizer.special_ids().pad,
        }
    }

    /// Id of the token that opens a text, if there is one.
    pub fn bos_id(&self) -> Option<u32> {
        match self {
            Self::Characters(_) => Some(BOS_ID),
            Self::HuggingFace(tokenizer) => tokenizer.special_ids().bos,
        }
    }

    /// Id of the token that the file puts before every text, if it does so: what the model behind it expects at the start of a prompt.
    pub fn opening_id(&self) -> Option<u32> {
        match self {
            Self::Characters(_) => None,
            Self::HuggingFace(tokenizer) => tokenizer.special_ids().opening,
        }
    }

    /// Id of the token that ends a text, where generation stops, if there is one.
    pub fn eos_id(&self) -> Option<u32> {
        match self {
            Self::Characters(_) => Some(EOS_ID),
            Self::HuggingFace(tokenizer) => tokenizer.special_ids().eos,
        }
    }

    /// What rows of a batch are filled up with, where neither the loss nor another token looks: the token for that, else the one that
    /// ends a text, else id 0.
    pub fn filler_id(&self) -> u32 {
        self.pad_id().or(self.eos_id()).unwrap_or(0)
    }
}
