//! How much longer a `tokenizer.json` may make a text before it becomes tokens, and back: a chain of replacements in a file of some kilobytes
//! doubles a text as often as it is long. Files that go beyond all in use are refused, and texts that would become too long.

use crate::{Error, Result};
use serde_json::Value;

/// How often the bytes of a text may be there; those in use stay below 16.
const MOST_TIMES: f64 = 64.0;
/// Bytes that may be put before or into a text, however short it is.
const MOST_MORE: f64 = 65_536.0;
/// A text of more bytes than this after the replacements is refused, where they make it much longer.
const MOST_BYTES: f64 = (1 << 24) as f64;
/// Texts that become so many times as long at most may have any length: characters of three bytes for spaces.
const USUAL_TIMES: f64 = 4.0;
/// Bytes of the longest text that a table of characters may have for one; those in use have some dozens.
const LONGEST_IN_TABLE: usize = 256;

/// The length of a text is at most `times` that before, and `more`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Growth {
    times: f64,
    more: f64,
}

impl Growth {
    const NONE: Self = Self { times: 1.0, more: 0.0 };

    /// That of the normalizer of the file `value`.
    ///
    /// # Errors
    /// The user's: a normalizer or a decoder that makes texts longer than any in use.
    pub fn of_file(value: &Value) -> Result<Self> {
        for (part, list) in [("normalizer", "normalizers"), ("decoder", "decoders")] {
            let Self { times, more } = Self::of_steps(&value[part], list);
            if times > MOST_TIMES || more > MOST_MORE {
                let message =
                    format!("not a tokenizer.json: `{part}` makes a text up to {times:.0} times as long, and {more:.0} bytes more");
                return Err(Error::input(message).hint(format!("at most {MOST_TIMES} times and {MOST_MORE} bytes are taken")));
            }
        }
        Ok(Self::of_steps(&value["normalizer"], "normalizers"))
    }

    /// Refuses a text that would become too long.
    ///
    /// # Errors
    /// The user's: such a text.
    pub fn check(self, text: &str) -> Result<()> {
        let grown = self.times * text.len() as f64 + self.more;
        match self.times > USUAL_TIMES && grown > MOST_BYTES {
            false => Ok(()),
            true => Err(Error::input(format!(
                "a text of {} bytes could become {grown:.0} in this tokenizer's normalizer, more than {MOST_BYTES}",
                text.len()
            ))),
        }
    }

    /// One step, or a sequence of them under the name `list`, which may hold sequences.
    fn of_steps(step: &Value, list: &str) -> Self {
        match step[list].as_array() {
            Some(steps) => steps.iter().map(|step| Self::of_steps(step, list)).fold(Self::NONE, Self::then),
            None => Self::of_step(step),
        }
    }

    fn of_step(step: &Value) -> Self {
        let length = |text: &Value| text.as_str().map_or(0, str::len) as f64;
        match step["type"].as_str() {
            Some("Replace") => match step["pattern"]["String"].as_str() {
                Some("") | None => Self { times: length(&step["content"]) + 1.0, more: length(&step["content"]) }, // even no text may match
                Some(pattern) => Self { times: (length(&step["content"]) / pattern.len() as f64).max(1.0), more: 0.0 },
            },
            Some("Prepend") => Self { times: 1.0, more: length(&step["prepend"]) },
            Some("Precompiled") if longest_in_table(&step["precompiled_charsmap"]) > LONGEST_IN_TABLE => {
                Self { times: f64::INFINITY, more: 0.0 }
            }
            // Unicode's forms make some characters longer, but not those that they make.
            _ => Self::NONE,
        }
    }

    fn then(self, next: Self) -> Self {
        Self { times: self.times * next.times, more: self.more * next.times + next.more }
    }
}

/// Bytes of the longest text that a table of sentencepiece has: behind the length of a tree and the tree, texts that end in a zero.
fn longest_in_table(table: &Value) -> usize {
    let bytes: Vec<u8> = match table {
        Value::String(text) => base64(text.as_bytes()),
        Value::Array(list) => list.iter().map(|byte| byte.as_u64().unwrap_or_default() as u8).collect(),
        _ => return 0,
    };
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return 0 };
    let texts = rest.get(u32::from_le_bytes(*length) as usize..).unwrap_or_default();
    texts.split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or_default()
}

/// The bytes of a text in base64, up to what is none.
fn base64(text: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u8> = text.iter().map_while(digit).collect();
    let number = |group: &[u8]| (0..4).fold(0u32, |number, at| number << 6 | u32::from(group.get(at).copied().unwrap_or_default()));
    digits.chunks(4).flat_map(|group| number(group).to_be_bytes()[1..].iter().take(group.len() - 1).copied().collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn replace(pattern: Value, content: &str) -> Value {
        json!({"type": "Replace", "pattern": pattern, "content": content})
    }

    fn sequence(steps: &[Value]) -> Value {
        json!({"normalizer": {"type": "Sequence", "normalizers": steps}})
    }

    #[test]
    fn a_chain_of_replacements_that_grow_is_refused_before_a_text_is_read() {
        let doubling = replace(json!({"String": "2"}), "22");
        let refused = |file: Value| Growth::of_file(&file).unwrap_err().to_string();
        assert!(refused(sequence(&vec![doubling.clone(); 60])).contains("`normalizer`"));
        let nested = json!({"normalizer": {"type": "Sequence", "normalizers": [{"normalizers": vec![doubling.clone(); 7]}]}});
        assert!(refused(nested).contains("128 times"));
        assert!(refused(json!({"decoder": {"type": "Sequence", "decoders": vec![doubling; 60]}})).contains("`decoder`"));
        assert!(refused(sequence(&[replace(json!({"String": "a"}), &"b".repeat(1 << 20))])).contains("1048576 times"));
        assert!(refused(sequence(&[replace(json!({"Regex": ""}), &"b".repeat(100))])).contains("101 times"));
        assert!(refused(sequence(&[json!({"type": "Prepend", "prepend": "b".repeat(1 << 20)})])).contains("1048576 bytes more"));
    }

    #[test]
    fn usual_normalizers_are_taken_and_texts_that_would_become_too_long_are_not() {
        let space = [json!({"type": "Prepend", "prepend": "▁"}), replace(json!({"String": " "}), "▁")];
        assert_eq!(Growth::of_file(&sequence(&space)).unwrap(), Growth { times: 3.0, more: 9.0 });
        let many = replace(json!({"Regex": " {2,}"}), "▁");
        assert_eq!(Growth::of_file(&sequence(&[json!({"type": "NFKC"}), many])).unwrap().times, 4.0);
        assert!(Growth { times: 4.0, more: 0.0 }.check(&"a".repeat(1 << 23)).is_ok());
        assert!(Growth { times: 64.0, more: 0.0 }.check(&"a".repeat(1 << 18)).is_ok());
        assert!(Growth { times: 64.0, more: 1.0 }.check(&"a".repeat(1 << 18)).unwrap_err().to_string().contains("262144 bytes"));
    }

    #[test]
    fn a_table_is_refused_that_makes_a_page_of_a_character() {
        let table = |longest: usize| [&[1, 0, 0, 0, 7][..], b"ab\0", &vec![b'c'; longest], b"\0"].concat();
        let listed = |longest| json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": table(longest)}});
        assert!(Growth::of_file(&listed(LONGEST_IN_TABLE)).is_ok());
        assert!(Growth::of_file(&listed(LONGEST_IN_TABLE + 1)).is_err());
        assert_eq!(base64(b"AQAAAGFiYw=="), [1, 0, 0, 0, b'a', b'b', b'c']);
        assert_eq!(longest_in_table(&json!("AQAAAAdhYgBj")), 2);
    }
}
