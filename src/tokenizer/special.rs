//! The tokens that text never becomes: those of the tokenizers that are made here, and which of a foreign `tokenizer.json` fill up, open and
//! end a text: what its template says, else the names that are usual.

use serde_json::Value;
use std::sync::LazyLock;

/// Id of the token that fills a row up, in the tokenizers that are made here; the loss never looks at it.
pub const PAD_ID: u32 = 0;
/// Id of the token that opens a text, in the tokenizers that are made here.
pub const BOS_ID: u32 = 1;
/// Id of the token that ends a text, in the tokenizers that are made here.
pub const EOS_ID: u32 = 2;
/// Id that stands for text outside the vocabulary, in the tokenizers that are made here. No `encode` of theirs makes it; other readers
/// of the `tokenizer.json` may.
pub const UNK_ID: u32 = 3;
/// The special tokens of the tokenizers that are made here; the position of each is its id.
pub const SPECIAL_TOKENS: [&str; 4] = ["<pad>", "<bos>", "<eos>", "<unk>"];

// In order of preference: where a file has several, the one that was added for pre-training comes first.
const PAD_NAMES: [&str; 7] = ["<pad>", "<|pad|>", "<|finetune_right_pad_id|>", "<|padding|>", "[PAD]", "<PAD>", "<｜▁pad▁｜>"];
const BOS_NAMES: [&str; 6] = ["<|begin_of_text|>", "<s>", "<bos>", "<|bos|>", "<|startoftext|>", "<｜begin▁of▁sentence｜>"];
const EOS_NAMES: [&str; 6] = ["<|end_of_text|>", "<|endoftext|>", "</s>", "<eos>", "<|eos|>", "<｜end▁of▁sentence｜>"];

/// A token that text never becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    /// Its id.
    pub id: u32,
    /// As templates write it.
    pub content: String,
    /// Whether it takes the spaces before it along.
    pub strips_left: bool,
    /// Whether it takes the spaces behind it along.
    pub strips_right: bool,
}

/// The special tokens of the tokenizers whose tokens are characters.
pub(super) fn of_characters() -> &'static [SpecialToken] {
    static TOKENS: LazyLock<Vec<SpecialToken>> = LazyLock::new(|| {
        let token =
            |(content, id): (&&str, u32)| SpecialToken { id, content: (*content).to_owned(), strips_left: false, strips_right: false };
        SPECIAL_TOKENS.iter().zip(0..).map(token).collect()
    });
    &TOKENS
}

/// Ids of the tokens with a role; none where a file has no such token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpecialIds {
    /// Fills rows up.
    pub pad: Option<u32>,
    /// Opens a text.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Option<u32>,
    /// What the file's template puts before a text.
    pub opening: Option<u32>,
}

impl SpecialIds {
    /// The ids of the file `value`; `id_of` finds a token by its name among those that the file adds to its vocabulary, since a mere word of
    /// the vocabulary, which text can hold, has no role.
    pub(super) fn find(value: &Value, id_of: impl Fn(&str) -> Option<u32>) -> Self {
        let first_of = |names: &[&str]| names.iter().find_map(|name| id_of(name));
        let (opening, ending) = template(&value["post_processor"]);
        Self {
            pad: first_of(&PAD_NAMES).or_else(|| id_of(value["padding"]["pad_token"].as_str()?)),
            bos: opening.and_then(&id_of).or_else(|| first_of(&BOS_NAMES)),
            opening: opening.and_then(&id_of),
            eos: ending.and_then(&id_of).or_else(|| first_of(&EOS_NAMES)),
        }
    }

    /// Whether `id` has one of the roles.
    pub(super) fn contains(&self, id: u32) -> bool {
        [self.pad, self.bos, self.eos].contains(&Some(id))
    }
}

/// What a template puts before a text and behind it.
fn template(processor: &Value) -> (Option<&str>, Option<&str>) {
    if let Some(processors) = processor["processors"].as_array() {
        return processors.iter().map(template).find(|found| *found != (None, None)).unwrap_or_default();
    }
    let pieces = processor["single"].as_array().map(Vec::as_slice).unwrap_or_default();
    (pieces.first().and_then(special_token), pieces.last().and_then(special_token))
}

fn special_token(piece: &Value) -> Option<&str> {
    piece["SpecialToken"]["id"].as_str()
}
