//! Where the records of a `.json` begin and end, found without holding more than one: of an array its elements, else the one value.
//! Owns the brackets, commas and quotes; whether an element is JSON inside is the business of a parser.

use super::super::opened::Opened;
use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// A buffer that grew beyond this for one long record is given back behind it.
const USUAL_BYTES: usize = 1 << 20;

/// A record as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// Its number, from 1.
    pub record: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// The byte of the file at which it begins.
    pub offset: u64,
    /// None where it is too long.
    pub bytes: Option<&'a [u8]>,
}

/// The records of a file, one after another.
pub(super) struct Elements {
    opened: Opened,
    limit: usize,
    record: u64,
    line: u64,
    state: State,
    element: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first character that counts.
    Start,
    /// Behind an opening bracket.
    Opened,
    /// Behind an element of an array.
    Between,
    /// Behind the last.
    Closed,
}

impl Elements {
    /// Records of more than `limit` bytes are passed over.
    pub fn new(opened: Opened, limit: usize) -> Self {
        Self { opened, limit, record: 0, line: 1, state: State::Start, element: Vec::new() }
    }

    /// The file.
    pub fn path(&self) -> &Arc<Path> {
        self.opened.path()
    }

    /// The next record; none behind the last.
    ///
    /// # Errors
    /// A file that ends too early, goes on too long, or has something else than a comma between two records.
    pub fn next_element(&mut self) -> Result<Option<Element<'_>>> {
        match (self.state, self.peek()?) {
            (State::Start, Some(b'[')) => {
                self.pass();
                self.state = State::Opened;
                self.next_element()
            }
            (State::Start, Some(_)) => self.element(State::Closed).map(Some),
            (State::Opened, Some(b']')) => self.close(),
            (State::Opened, Some(_)) => self.element(State::Between).map(Some),
            (State::Between, Some(b']')) => self.close(),
            (State::Between, Some(b',')) => {
                self.pass();
                self.peek()?.ok_or_else(|| self.ends_early())?;
                self.element(State::Between).map(Some)
            }
            (State::Between, Some(byte)) => Err(self.wrong(&format!("{:?} where a comma or a bracket should be", byte as char))),
            (State::Start | State::Opened | State::Between, None) => Err(self.ends_early()),
            (State::Closed, Some(_)) => Err(self.wrong("more behind its end")),
            (State::Closed, None) => Ok(None),
        }
    }

    fn close(&mut self) -> Result<Option<Element<'_>>> {
        self.pass();
        self.state = State::Closed;
        self.next_element()
    }

    fn element(&mut self, next: State) -> Result<Element<'_>> {
        let (line, offset) = (self.line, self.opened.offset());
        self.record += 1;
        self.clear();
        let mut extent = Extent::default();
        let mut is_too_long = false;
        while !extent.is_complete {
            let block = self.opened.fill()?;
            if block.is_empty() {
                if extent.is_scalar() {
                    break;
                }
                return Err(self.ends_early());
            }
            let length = extent.advance(block);
            self.line += newlines(&block[..length]);
            is_too_long |= self.element.len() + length > self.limit;
            if !is_too_long {
                self.element.extend_from_slice(&block[..length]);
            }
            self.opened.consume(length);
        }
        self.state = next;
        Ok(Element { record: self.record, line, offset, bytes: (!is_too_long).then_some(&self.element) })
    }

    /// Gives memory back behind a long record.
    fn clear(&mut self) {
        self.element.clear();
        self.element.shrink_to(USUAL_BYTES);
    }

    /// The next byte that is not white space; none at the end.
    fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            let block = self.opened.fill()?;
            if block.is_empty() {
                return Ok(None);
            }
            let spaces = block.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let found = block.get(spaces).copied();
            self.line += newlines(&block[..spaces]);
            self.opened.consume(spaces);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Passes the byte that was peeked at.
    fn pass(&mut self) {
        self.opened.consume(1);
    }

    fn ends_early(&self) -> Error {
        let message = format!("{}:{}: the file ends in the middle, after {} records", self.path().display(), self.line, self.record);
        Error::input(message).hint("it is cut short: fetch it again")
    }

    fn wrong(&self, what: &str) -> Error {
        let message = format!("{}:{}: {what}, after {} records", self.path().display(), self.line, self.record);
        Error::input(message).hint("a .json is one record or an array of them; name a file with a record a line .jsonl")
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// How far the value that is being passed goes.
#[derive(Debug, Default)]
struct Extent {
    /// Brackets that are open.
    depth: u64,
    is_in_string: bool,
    /// Whether the last character was a backslash in a string.
    is_escaped: bool,
    is_complete: bool,
}

impl Extent {
    /// How many of `bytes` belong to the value.
    fn advance(&mut self, bytes: &[u8]) -> usize {
        for (at, &byte) in bytes.iter().enumerate() {
            let ends_before = self.is_scalar() && (byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'}'));
            if ends_before {
                self.is_complete = true;
                return at;
            }
            self.pass(byte);
            if self.is_complete {
                return at + 1;
            }
        }
        bytes.len()
    }

    fn pass(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.is_in_string => self.is_escaped = true,
            b'"' => {
                self.is_in_string = !self.is_in_string;
                self.is_complete = !self.is_in_string && self.depth == 0;
            }
            _ if self.is_in_string => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.is_complete = self.depth == 0;
            }
            _ => {}
        }
    }

    /// Whether it is a number or a word, which ends where something else begins.
    fn is_scalar(&self) -> bool {
        self.depth == 0 && !self.is_in_string
    }
}
