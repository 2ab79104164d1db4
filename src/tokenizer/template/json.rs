//! JSON as Python's `json.dumps` writes it, with spaces behind commas and colons.

use serde_json::ser::{Formatter, PrettyFormatter};
use std::io::{Result, Write};

/// The widest indentation of one level; a template that asks for more gets this.
const SPACES: &[u8] = &[b' '; 16];

/// On one line, or indented.
pub(super) enum PythonFormatter {
    OneLine,
    Indented(PrettyFormatter<'static>),
}

impl PythonFormatter {
    pub fn new(indent: Option<usize>) -> Self {
        match indent {
            None => Self::OneLine,
            Some(indent) => Self::Indented(PrettyFormatter::with_indent(&SPACES[..indent.min(SPACES.len())])),
        }
    }

    fn separate<W: ?Sized + Write>(writer: &mut W, is_first: bool) -> Result<()> {
        if is_first { Ok(()) } else { writer.write_all(b", ") }
    }
}

/// Each event goes to the indented form where there is one.
macro_rules! indented_or {
    ($($name:ident ( $($argument:ident : $kind:ty),* ) $writer:ident => $otherwise:expr;)*) => {$(
        fn $name<W: ?Sized + Write>(&mut self, $writer: &mut W $(, $argument: $kind)*) -> Result<()> {
            match self {
                Self::Indented(pretty) => pretty.$name($writer $(, $argument)*),
                Self::OneLine => $otherwise,
            }
        }
    )*};
}

impl Formatter for PythonFormatter {
    indented_or! {
        begin_array() writer => writer.write_all(b"[");
        end_array() writer => writer.write_all(b"]");
        begin_object() writer => writer.write_all(b"{");
        end_object() writer => writer.write_all(b"}");
        begin_array_value(first: bool) writer => Self::separate(writer, first);
        end_array_value() _writer => Ok(());
        begin_object_key(first: bool) writer => Self::separate(writer, first);
        begin_object_value() writer => writer.write_all(b": ");
        end_object_value() _writer => Ok(());
    }
}
