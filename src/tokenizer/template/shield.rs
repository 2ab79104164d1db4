//! Between a rendered chat and its ids: what the template writes as a special token becomes one, what a message spells like one stays
//! text. Text of template and message between two special tokens is encoded as the one text that it is.

use crate::tokenizer::{SpecialToken, Tokenizer};
use crate::{Error, Result};

/// Marks come from the last private-use plane, whose characters no font shows.
const MARKS: std::ops::RangeInclusive<char> = '\u{100000}'..='\u{10fffd}';

/// Breaks up what looks special in messages by a mark, a character that neither they nor the template hold.
pub(super) struct Shield<'a> {
    tokenizer: &'a Tokenizer,
    special_tokens: &'a [SpecialToken],
    mark: char,
}

impl<'a> Shield<'a> {
    /// `texts` are the messages' and the template's.
    pub fn new<'t>(tokenizer: &'a Tokenizer, texts: impl Iterator<Item = &'t str> + Clone) -> Result<Self> {
        let mark = MARKS.rev().find(|&mark| !texts.clone().any(|text| text.contains(mark)));
        let mark = mark.ok_or_else(|| Error::input("the messages hold every private-use character of Unicode"))?;
        Ok(Self { tokenizer, special_tokens: tokenizer.special_tokens(), mark })
    }

    /// A message with a mark within all that is, or together with its neighbours could be, the name of a special token.
    pub fn cover(&self, text: &str) -> String {
        let mut covered = String::with_capacity(text.len());
        let start = text.len() - text.trim_start().len();
        for (at, character) in text.char_indices() {
            if at == start && self.ends_a_name(&text[at..]) {
                covered.push(self.mark);
            }
            covered.push(character);
            if self.begins_a_name(&text[at..]) {
                covered.push(self.mark);
            }
        }
        covered
    }

    /// Whether `rest` opens with a name, or is the beginning of one. The template may cut spaces off.
    fn begins_a_name(&self, rest: &str) -> bool {
        let trimmed = rest.trim_end();
        self.special_tokens
            .iter()
            .any(|token| rest.starts_with(&token.content) || !trimmed.is_empty() && token.content.starts_with(trimmed))
    }

    /// Whether `rest` opens with the end of a name, whose beginning the template might write.
    fn ends_a_name(&self, rest: &str) -> bool {
        let ends = |name: &str| name.char_indices().skip(1).any(|(at, _)| rest.starts_with(&name[at..]));
        self.special_tokens.iter().any(|token| ends(&token.content))
    }

    /// Ids of what a template made of covered messages.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let (mut ids, mut piece_start, mut at, mut strips) = (Vec::new(), 0, 0, false);
        while at < text.len() {
            let Some(token) = self.token_at(&text[at..]) else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            };
            self.encode_piece(&text[piece_start..at], [strips, token.strips_left], &mut ids)?;
            ids.push(token.id);
            at += token.content.len();
            (piece_start, strips) = (at, token.strips_right);
        }
        self.encode_piece(&text[piece_start..], [strips, false], &mut ids)?;
        Ok(ids)
    }

    /// The special token that `text` opens with, the longest of several. A mark behind its name takes its meaning away.
    fn token_at(&self, text: &str) -> Option<&SpecialToken> {
        let is_here = |token: &&SpecialToken| text.strip_prefix(&token.content).is_some_and(|rest| !rest.starts_with(self.mark));
        self.special_tokens.iter().filter(is_here).max_by_key(|token| token.content.len())
    }

    /// Appends the ids of text between two special tokens, which may take the spaces on their sides along.
    fn encode_piece(&self, piece: &str, [strips_start, strips_end]: [bool; 2], ids: &mut Vec<u32>) -> Result<()> {
        let piece = if strips_start { piece.trim_start() } else { piece };
        let piece = if strips_end { piece.trim_end() } else { piece };
        let text = piece.replace(self.mark, "");
        if !text.is_empty() {
            ids.extend(self.tokenizer.encode(&text)?);
        }
        Ok(())
    }
}
