//! `.jsonl`, a record a line, which may have any size, and `.json`, one record or an array of them, which is in memory as a whole.

use super::document::{ANOTHER_FIELD, Document, DocumentSettings, Flaw, Place, Records, Within, bad_record, no_field, text_of, too_long};
use super::opened::Opened;
use super::pieces::{Piece, Pieces};
use crate::{Error, Result};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The largest `.json`, decompressed, has as many times the bytes of the longest record.
const LONGEST_RECORDS: usize = 4;
const ONE_OR_AN_ARRAY: &str = "a .json is one record or an array of them; name a file with a record a line .jsonl";

type Outcome<T> = std::result::Result<T, Flaw>;

/// The records of a `.jsonl`; blank lines are none.
pub(super) struct JsonLines {
    lines: Pieces,
    text_field: String,
    line: u64,
    limit: usize,
}

impl JsonLines {
    /// `limit` is the most bytes a line may have.
    pub fn new(opened: Opened, settings: &DocumentSettings, limit: usize) -> Self {
        Self { lines: Pieces::new(opened, Some("\n"), limit), text_field: settings.text_field.clone(), line: 0, limit }
    }
}

impl Records for JsonLines {
    fn next_document(&mut self) -> Outcome<Option<Document>> {
        loop {
            let file = Arc::clone(self.lines.opened().path());
            let Some(Piece { offset, bytes }) = self.lines.next_piece()? else { return Ok(None) };
            self.line += 1;
            let place = Place { file, record: self.line, within: Within::Line(self.line) };
            let bytes = bytes.ok_or_else(|| too_long(&place, self.limit, ""))?;
            if !bytes.trim_ascii().is_empty() {
                return read_record(bytes, offset, place, &self.text_field).map(Some);
            }
        }
    }
}

/// The records of a `.json`, which is in memory as a whole: of an array its elements, else the one value.
pub(super) struct JsonElements {
    path: Arc<Path>,
    text_field: String,
    limit: usize,
    content: Vec<u8>,
    /// Bytes before the content, which a mark of the byte order takes.
    offset: u64,
    at: usize,
    line: u64,
    record: u64,
    state: State,
}

/// What stands before the next byte that counts.
#[derive(Debug, Clone, Copy)]
enum State {
    Nothing,
    OpeningBracket,
    Comma,
    Element,
    TheEnd,
}

impl JsonElements {
    /// `limit` is the most bytes a record may have.
    ///
    /// # Errors
    /// A file of more than [`LONGEST_RECORDS`] times as many.
    pub fn new(mut opened: Opened, settings: &DocumentSettings, limit: usize) -> Result<Self> {
        let (path, offset) = (Arc::clone(opened.path()), opened.offset());
        let mut content = Vec::new();
        loop {
            let block = opened.fill()?;
            let length = block.len();
            if length == 0 {
                break;
            }
            if content.len() + length > LONGEST_RECORDS * limit {
                return Err(too_large(&path, LONGEST_RECORDS * limit));
            }
            content.extend_from_slice(block);
            opened.consume(length);
        }
        let text_field = settings.text_field.clone();
        Ok(Self { path, text_field, limit, content, offset, at: 0, line: 1, record: 0, state: State::Nothing })
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.content[self.at..];
        let spaces = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.pass(spaces);
        self.content.get(self.at).copied()
    }

    /// Passes `length` bytes, which stay where they are.
    fn pass(&mut self, length: usize) -> Range<usize> {
        let passed = self.at..self.at + length;
        self.line += memchr::memchr_iter(b'\n', &self.content[passed.clone()]).count() as u64;
        self.at = passed.end;
        passed
    }

    fn element(&mut self) -> Outcome<Document> {
        self.record += 1;
        let place = Place { file: Arc::clone(&self.path), record: self.record, within: Within::Line(self.line) };
        // Whatever is inside, this finds its end, and takes no memory for it.
        let mut values = serde_json::Deserializer::from_slice(&self.content[self.at..]).into_iter::<IgnoredAny>();
        let value = values.next();
        let length = values.byte_offset();
        match value {
            Some(Ok(IgnoredAny)) => {}
            Some(Err(error)) if !error.is_eof() => {
                return Err(Error::input(format!("{place}: {}", no_json(&error))).hint(ONE_OR_AN_ARRAY).into());
            }
            Some(Err(_)) | None => return Err(self.ends_early().into()),
        }
        let bytes = self.pass(length);
        if bytes.len() > self.limit {
            return Err(too_long(&place, self.limit, ""));
        }
        read_record(&self.content[bytes.clone()], self.offset + bytes.start as u64, place, &self.text_field)
    }

    fn ends_early(&self) -> Error {
        self.wrong("the file ends in the middle").hint("it is cut short: fetch it again")
    }

    fn wrong(&self, what: &str) -> Error {
        Error::input(format!("{}:{}: {what}, after {} records", self.path.display(), self.line, self.record)).hint(ONE_OR_AN_ARRAY)
    }
}

impl Records for JsonElements {
    fn next_document(&mut self) -> Outcome<Option<Document>> {
        loop {
            self.state = match (self.state, self.peek()) {
                (State::Nothing, Some(b'[')) => State::OpeningBracket,
                (State::OpeningBracket | State::Element, Some(b']')) => State::TheEnd,
                (State::Element, Some(b',')) => State::Comma,
                (State::Nothing, Some(_)) => {
                    self.state = State::TheEnd;
                    return self.element().map(Some);
                }
                (State::OpeningBracket | State::Comma, Some(_)) => {
                    self.state = State::Element;
                    return self.element().map(Some);
                }
                (State::Element, Some(byte)) => {
                    return Err(self.wrong(&format!("{:?} where a comma or a bracket should be", byte as char)).into());
                }
                (State::TheEnd, Some(_)) => return Err(self.wrong("more behind its end").into()),
                (State::TheEnd, None) => return Ok(None),
                (State::Nothing | State::OpeningBracket | State::Comma | State::Element, None) => return Err(self.ends_early().into()),
            };
            self.pass(1);
        }
    }
}

fn too_large(path: &Path, most: usize) -> Error {
    let message = format!("{} has more than {most} bytes, the most of a .json, which is in memory as a whole", path.display());
    Error::input(message).hint("a .jsonl, with a record a line, may have any size: jq -c '.[]' FILE.json > FILE.jsonl")
}

fn read_record(bytes: &[u8], offset: u64, place: Place, text_field: &str) -> Outcome<Document> {
    let json = text_of(bytes, offset, &place)?;
    let value = serde_json::from_str(json).map_err(|error| bad_record(&place, no_json(&error), ""))?;
    Ok(Document { text: text_in(value, text_field, &place)?, place })
}

/// What serde says, with the position counted in the record.
fn no_json(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let what = message.rsplit_once(" at line ").map_or(&*message, |(what, _)| what);
    format!("this is no JSON: {what} (line {}, column {} of the record)", error.line(), error.column())
}

/// The string that the record is, or that stands in the field `text_field` of it.
fn text_in(value: Value, text_field: &str, place: &Place) -> Outcome<String> {
    if let Value::String(text) = value {
        return Ok(text);
    }
    let mut here = value;
    for name in text_field.split('.') {
        let Value::Object(mut object) = here else {
            return Err(bad_record(place, format!("{} where {name:?} of text_field {text_field:?} should be", noun(&here)), ""));
        };
        here = match object.remove(name) {
            Some(value) => value,
            None => return Err(no_field(place, text_field, object.keys().map(String::as_str))),
        };
    }
    match here {
        Value::String(text) => Ok(text),
        other => Err(bad_record(place, format!("the field {text_field:?} is {}, not text", noun(&other)), ANOTHER_FIELD)),
    }
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
