//! Decoding as ids come: text that is shown never ends within a character, and all of it together is what decoding at once gives.

use super::Tokenizer;

/// Tokens that wait at most; so many that no character becomes whole are shown as they are. All of them are decoded for each that comes.
const MOST_WAITING: usize = 64;

/// Decodes ids one at a time.
#[derive(Debug)]
pub struct Stream<'a> {
    tokenizer: &'a Tokenizer,
    pending: Pending,
}

/// What has come and is not shown yet.
#[derive(Debug)]
enum Pending {
    /// Every token is whole characters.
    Nothing,
    /// Bytes that may be the beginning of a character.
    Bytes(Vec<u8>),
    /// Tokens that decode in the light of those before them: the last ones whose text was shown, and then those that wait.
    Tokens { ids: Vec<u32>, num_shown: usize },
}

impl Tokenizer {
    /// Decodes ids one at a time, never half a character.
    pub fn stream(&self) -> Stream<'_> {
        Stream::new(self)
    }
}

impl<'a> Stream<'a> {
    fn new(tokenizer: &'a Tokenizer) -> Self {
        let pending = match tokenizer {
            Tokenizer::Characters(_) => Pending::Nothing,
            Tokenizer::HuggingFace(foreign) if foreign.is_byte_level() => Pending::Bytes(Vec::new()),
            Tokenizer::HuggingFace(_) => Pending::Tokens { ids: Vec::new(), num_shown: 0 },
        };
        Self { tokenizer, pending }
    }

    /// The text that `id` completes; empty while a character is not whole.
    pub fn push(&mut self, id: u32) -> String {
        match (&mut self.pending, self.tokenizer) {
            (Pending::Bytes(bytes), Tokenizer::HuggingFace(foreign)) => {
                bytes.extend_from_slice(foreign.bytes_of(id));
                let rest = bytes.split_off(bytes.len() - unfinished(bytes));
                lossy(std::mem::replace(bytes, rest))
            }
            (Pending::Tokens { ids, num_shown }, Tokenizer::HuggingFace(foreign)) => {
                if foreign.bytes_of(id).is_empty() {
                    return String::new(); // decoding leaves it out
                }
                ids.push(id);
                if foreign.is_single_byte(id) {
                    return String::new(); // more of them may follow
                }
                let is_whole = |text: &str| !text.ends_with(char::REPLACEMENT_CHARACTER) || ids.len() - *num_shown > MOST_WAITING;
                match waiting_text(self.tokenizer, ids, *num_shown) {
                    Some(text) if !text.is_empty() && is_whole(&text) => {
                        ids.drain(..*num_shown);
                        *num_shown = ids.len();
                        text
                    }
                    _ => String::new(),
                }
            }
            _ => self.tokenizer.decode(&[id]),
        }
    }

    /// The text that was held back, now that nothing follows.
    pub fn finish(self) -> String {
        match self.pending {
            Pending::Nothing => String::new(),
            Pending::Bytes(bytes) => lossy(bytes),
            Pending::Tokens { ids, num_shown } => waiting_text(self.tokenizer, &ids, num_shown).unwrap_or_default(),
        }
    }
}

/// What the ids behind the first `num_shown` add to the text of those.
fn waiting_text(tokenizer: &Tokenizer, ids: &[u32], num_shown: usize) -> Option<String> {
    let shown = tokenizer.decode(&ids[..num_shown]);
    tokenizer.decode(ids).strip_prefix(&shown).map(str::to_owned)
}

/// How many bytes at the end could still become a character.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    let may_become_whole = std::str::from_utf8(last).is_err_and(|error| error.error_len().is_none());
    if may_become_whole { last.len() } else { 0 }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
