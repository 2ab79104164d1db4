//! Between a rendered chat and its ids: what the template writes as a special token becomes one, what a message spells like one stays
//! text. Text of template and message between two special tokens is encoded as the one text that it is.

use super::names::Names;
use crate::tokenizer::{SpecialToken, Tokenizer};
use crate::{Error, Result};
use std::collections::HashSet;

/// Marks come from the last private-use plane, whose characters no font shows.
const MARKS: std::ops::RangeInclusive<char> = '\u{100000}'..='\u{10fffd}';

/// Breaks up what looks special in messages by a mark, a character that neither they nor the template hold.
pub(super) struct Shield<'a> {
    tokenizer: &'a Tokenizer,
    names: Names<'a>,
    mark: char,
}

impl<'a> Shield<'a> {
    /// `texts` are the messages' and the template's.
    pub fn new<'t>(tokenizer: &'a Tokenizer, texts: impl Iterator<Item = &'t str>) -> Result<Self> {
        let taken: HashSet<char> = texts.flat_map(|text| text.chars().filter(|character| MARKS.contains(character))).collect();
        let mark = MARKS.rev().find(|mark| !taken.contains(mark));
        let mark = mark.ok_or_else(|| Error::input("the messages hold every private-use character of Unicode"))?;
        Ok(Self { tokenizer, names: Names::new(tokenizer.special_tokens()), mark })
    }

    /// A message with a mark within all that is, or together with its neighbours could be, the name of a special token.
    pub fn cover(&self, text: &str) -> String {
        let mut covered = String::with_capacity(text.len());
        let start = text.len() - text.trim_start().len();
        let trimmed = text.trim_end(); // the template may cut spaces off
        for (at, character) in text.char_indices() {
            if at == start && self.names.ends_at_start_of(&text[at..]) {
                covered.push(self.mark);
            }
            covered.push(character);
            let may_go_on = |rest: &str| !rest.is_empty() && self.names.begins_with(rest);
            if self.names.longest_at(&text[at..], |_| true).is_some() || trimmed.get(at..).is_some_and(may_go_on) {
                covered.push(self.mark);
            }
        }
        covered
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
        self.names.longest_at(text, |rest| !rest.starts_with(self.mark))
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
