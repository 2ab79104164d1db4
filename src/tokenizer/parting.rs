//! A long text in pieces whose ids, one after another, are those of the text: what the `tokenizers` library takes of memory grows with
//! the text that it is given. Owns where a text may be parted, which depends on the tokenizer.

use super::file::TokenizerFile;
use serde_json::{Value, json};

/// Where words part, as in LLaMA 3: a word with the one sign or space before it; at most three digits, so that years and sums do not
/// fill the vocabulary; line breaks with the signs before them; a run of spaces but for its last one, which is the next word's. GPT-2
/// has numbers of any length, and a token for each width of indentation before each line's first word.
pub(super) const PATTERN: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A text of more bytes is parted.
pub(super) const PIECE_BYTES: usize = 1 << 18;

/// The space of the tokenizers that have no words but one long text.
const SPACE: char = '\u{2581}';

/// Whether a text may be parted at a space between two ASCII letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// Not for certain.
    Never,
    /// Before the space: the tokenizer takes word by word, and a word goes with the space before it.
    BeforeSpace,
    /// At the space, which goes: the tokenizer puts one before every text, and no token of it goes from a letter on to a space.
    AtSpace,
}

impl Parting {
    /// That of the tokenizer of a checked file.
    pub fn of(file: &TokenizerFile) -> Self {
        let added: Vec<_> = file.added.iter().filter(|token| !token.is_special).collect();
        let value = &file.value;
        if value["normalizer"].is_null() && takes_words(&value["pre_tokenizer"]) {
            let may_be_parted = |content: &str| (1..content.len()).any(|at| is_place(content.as_bytes(), at));
            let is_harmless = added.iter().all(|token| !token.is_greedy && !may_be_parted(&token.content));
            return if is_harmless { Self::BeforeSpace } else { Self::Never };
        }
        if added.is_empty() && takes_whole_texts(value) && joins_no_letter_to_a_space(&file.tokens) {
            return Self::AtSpace;
        }
        Self::Never
    }

    /// `text` in pieces of about `piece_bytes`; as it is where it may not be parted.
    pub fn pieces(self, text: &str, piece_bytes: usize) -> impl Iterator<Item = &str> {
        let mut rest = Some(text);
        std::iter::from_fn(move || {
            let text = rest?;
            let place = if self == Self::Never || text.len() <= piece_bytes { None } else { place_near(text.as_bytes(), piece_bytes) };
            rest = place.map(|at| if self == Self::AtSpace { &text[at + 1..] } else { &text[at..] });
            Some(place.map_or(text, |at| &text[..at]))
        })
    }
}

/// The last place up to `near`, else the first behind it.
fn place_near(text: &[u8], near: usize) -> Option<usize> {
    (1..=near).rev().find(|&at| is_place(text, at)).or_else(|| (near + 1..text.len()).find(|&at| is_place(text, at)))
}

fn is_place(text: &[u8], at: usize) -> bool {
    let is_letter = |at: usize| text.get(at).is_some_and(u8::is_ascii_alphabetic);
    text.get(at) == Some(&b' ') && is_letter(at - 1) && is_letter(at + 1)
}

/// Whether it is one of the patterns in use, in all of which a letter with a space behind it ends a word, and none of which looks back.
fn takes_words(pre_tokenizer: &Value) -> bool {
    let is_gpt2 = |step: &Value| step["type"] == "ByteLevel" && step["use_regex"] != false;
    let digit_by_digit = PATTERN.replace(r"\p{N}{1,3}", r"\p{N}"); // as Qwen has it
    let is_known = |pattern: &Value| pattern == PATTERN || *pattern == *digit_by_digit;
    let is_split = |step: &Value| {
        let isolates = step["behavior"] == "Isolated" && step["invert"] != true || step["behavior"] == "Removed" && step["invert"] == true;
        step["type"] == "Split" && isolates && is_known(&step["pattern"]["Regex"])
    };
    is_gpt2(pre_tokenizer) || is_split(&pre_tokenizer["pretokenizers"][0])
}

/// Whether it is what LLaMA 2 has: a space before the text, each as [`SPACE`], and merges alone decide where tokens end.
fn takes_whole_texts(value: &Value) -> bool {
    let prepend = json!({"type": "Prepend", "prepend": SPACE});
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
    let model = &value["model"];
    let has_merges_alone = model["type"] == "BPE" && model["ignore_merges"] != true && model["continuing_subword_prefix"].is_null();
    value["normalizer"] == json!({"type": "Sequence", "normalizers": [prepend, replace]})
        && value["pre_tokenizer"].is_null()
        && has_merges_alone
}

/// Then the merges on either side of the space between two words never meet. Letters and space need tokens: unknown ones join.
fn joins_no_letter_to_a_space(tokens: &[String]) -> bool {
    let joins = |token: &String| token.split_inclusive(SPACE).any(|part| part.strip_suffix(SPACE).is_some_and(ends_in_letter));
    let has = |character: char| tokens.iter().any(|token| token.chars().eq([character]));
    !tokens.iter().any(joins) && ('a'..='z').chain('A'..='Z').chain([SPACE]).all(has)
}

fn ends_in_letter(text: &str) -> bool {
    text.ends_with(|character: char| character.is_ascii_alphabetic())
}

#[cfg(test)]
#[path = "parting_tests.rs"]
mod tests;
