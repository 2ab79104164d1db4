//! Lines of text with a little emphasis, as plain text or with the terminal's colours. Everything reads the same without them.

use std::fmt::Write;
use std::io::{IsTerminal, stderr, stdout};

/// How a piece of text stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emphasis {
    /// Not at all.
    Plain,
    /// A heading.
    Bold,
    /// A label.
    Faint,
    /// All is well.
    Good,
    /// Worth a look.
    Warning,
    /// Something failed.
    Bad,
    /// The n-th of several curves.
    Curve(usize),
}

impl Emphasis {
    fn code(self) -> Option<u8> {
        const CURVES: [u8; 6] = [36, 33, 35, 32, 34, 31];
        match self {
            Self::Plain => None,
            Self::Bold => Some(1),
            Self::Faint => Some(2),
            Self::Good => Some(32),
            Self::Warning => Some(33),
            Self::Bad => Some(31),
            Self::Curve(index) => Some(CURVES[index % CURVES.len()]),
        }
    }
}

/// Text that knows which of its pieces stand out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Styled {
    pieces: Vec<(Emphasis, String)>,
}

impl Styled {
    /// Adds a piece.
    pub fn push(&mut self, emphasis: Emphasis, text: impl Into<String>) -> &mut Self {
        self.pieces.push((emphasis, text.into()));
        self
    }

    /// Ends the line.
    pub fn end_line(&mut self) -> &mut Self {
        self.push(Emphasis::Plain, "\n")
    }

    /// The text, with escape codes when `has_colour`.
    pub fn render(&self, has_colour: bool) -> String {
        let mut text = String::new();
        for (emphasis, piece) in &self.pieces {
            let _ = match emphasis.code().filter(|_| has_colour) {
                Some(code) => write!(text, "\x1b[{code}m{piece}\x1b[0m"),
                None => write!(text, "{piece}"),
            };
        }
        text
    }
}

/// Whether standard output is a terminal whose user has not asked for no colours (<https://no-color.org>).
pub fn stdout_has_colour() -> bool {
    stdout().is_terminal() && is_colour_wanted()
}

/// The same of standard error.
pub fn stderr_has_colour() -> bool {
    stderr().is_terminal() && is_colour_wanted()
}

fn is_colour_wanted() -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !is_unwanted && !is_dumb
}

/// Text of a log made harmless: control characters, which could move the cursor, become visible.
pub fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// At most `width` characters; a longer text ends in `…`.
pub fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_the_text_is_the_same_and_has_no_escapes() {
        let mut styled = Styled::default();
        styled.push(Emphasis::Bold, "mine").push(Emphasis::Plain, " runs").end_line();
        assert_eq!(styled.render(false), "mine runs\n");
        assert_eq!(styled.render(true), "\x1b[1mmine\x1b[0m runs\n");
    }

    #[test]
    fn a_sample_cannot_send_escapes_to_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }

    #[test]
    fn a_long_text_is_cut_to_the_width() {
        assert_eq!((shortened("abcdef", 4), shortened("abcd", 4)), ("abc…".to_owned(), "abcd".to_owned()));
    }
}
