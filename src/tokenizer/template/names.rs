//! The names of special tokens, to be looked for at every place of a text: in as many steps as the text goes along with a name, however many
//! names there are.

use crate::tokenizer::SpecialToken;
use std::collections::BTreeMap;

/// A tree of names by their bytes.
pub(super) struct Names<'a> {
    tokens: &'a [SpecialToken],
    nodes: Vec<Node>,
    #[cfg(test)]
    steps: std::cell::Cell<usize>,
}

/// What names go on with behind the bytes that lead here.
#[derive(Default)]
struct Node {
    next: BTreeMap<u8, usize>,
    /// The token whose name ends here.
    token: Option<usize>,
}

impl<'a> Names<'a> {
    pub fn new(tokens: &'a [SpecialToken]) -> Self {
        let mut nodes = vec![Node::default()];
        for (index, token) in tokens.iter().enumerate() {
            let mut at = 0;
            for byte in token.content.bytes() {
                let count = nodes.len();
                let next = *nodes[at].next.entry(byte).or_insert(count);
                if next == count {
                    nodes.push(Node::default());
                }
                at = next;
            }
            nodes[at].token = Some(index);
        }
        Self {
            tokens,
            nodes,
            #[cfg(test)]
            steps: std::cell::Cell::new(0),
        }
    }

    /// The token with the longest name that `text` opens with, of those whose rest of the text is fine.
    pub fn longest_at(&self, text: &str, is_fine: impl Fn(&str) -> bool) -> Option<&'a SpecialToken> {
        let (mut at, mut found) = (0, None);
        for (index, byte) in text.bytes().enumerate() {
            let Some(next) = self.step(at, byte) else { break };
            at = next;
            if let Some(token) = self.nodes[at].token.filter(|_| is_fine(&text[index + 1..])) {
                found = Some(token);
            }
        }
        found.map(|token| &self.tokens[token])
    }

    /// Whether `text` is the beginning of a name, or one.
    pub fn begins_with(&self, text: &str) -> bool {
        text.bytes().try_fold(0, |at, byte| self.step(at, byte)).is_some()
    }

    /// Whether `text` opens with the end of a name, whose beginning another text may hold.
    pub fn ends_at_start_of(&self, text: &str) -> bool {
        let ends = |name: &str| name.char_indices().skip(1).any(|(at, _)| text.starts_with(&name[at..]));
        self.tokens.iter().any(|token| ends(&token.content))
    }

    fn step(&self, at: usize, byte: u8) -> Option<usize> {
        #[cfg(test)]
        self.steps.set(self.steps.get() + 1);
        self.nodes[at].next.get(&byte).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: u32, content: &str) -> SpecialToken {
        SpecialToken { id, content: content.to_owned(), strips_left: false, strips_right: false }
    }

    #[test]
    fn the_longest_name_is_found_that_is_fine() {
        let tokens = [token(0, "<|"), token(1, "<|é|>"), token(2, "<|é|><")];
        let names = Names::new(&tokens);
        let found = |text| names.longest_at(text, |rest| !rest.starts_with('!')).map(|token| token.id);
        assert_eq!(["<|é|><", "<|é|>", "<|é|>!", "<|!", "<", "", "|>"].map(found), [Some(2), Some(1), Some(0), None, None, None, None]);
        assert!(names.begins_with("<|é") && !names.begins_with("<é") && names.begins_with(""));
        assert!(names.ends_at_start_of("é|>x") && names.ends_at_start_of("<") && !names.ends_at_start_of("x<"));
    }

    #[test]
    fn looking_at_every_place_takes_no_more_steps_than_names_are_long_whatever_a_text_repeats() {
        let tokens: Vec<_> = (0..300).map(|id| token(id, &format!("<|reserved_special_token_{id}|>"))).collect();
        let longest = tokens.iter().map(|token| token.content.len()).max().unwrap();
        for part in [" ", "\n", "\u{3000}", "<", "|", "<|", "<|reserved_special_token_", "<|reserved_special_token_7|>", "a ", "é"] {
            let names = Names::new(&tokens);
            let text = part.repeat(20_000 / part.len());
            let trimmed = text.trim_end();
            for (at, _) in text.char_indices() {
                names.longest_at(&text[at..], |_| true);
                trimmed.get(at..).map(|rest| names.begins_with(rest));
            }
            assert!(names.steps.get() <= 2 * (longest + 1) * text.len(), "{part:?}: {}", names.steps.get());
        }
    }
}
