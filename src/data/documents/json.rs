//! `.jsonl`, a record a line, and `.json`, one record or an array of them. Owns the text of a record; where an element of an array ends
//! is the business of `elements`.

mod elements;

use super::document::{ANOTHER_FIELD, Document, DocumentSettings, Flaw, Place, Records, Within, bad_record, no_field, text_of, too_long};
use super::opened::Opened;
use super::pieces::{Piece, Pieces};
use elements::{Element, Elements};
use serde_json::Value;
use std::sync::Arc;

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

/// The records of a `.json`.
pub(super) struct JsonElements {
    elements: Elements,
    text_field: String,
    limit: usize,
}

impl JsonElements {
    /// `limit` is the most bytes a record may have.
    pub fn new(opened: Opened, settings: &DocumentSettings, limit: usize) -> Self {
        Self { elements: Elements::new(opened, limit), text_field: settings.text_field.clone(), limit }
    }
}

impl Records for JsonElements {
    fn next_document(&mut self) -> Outcome<Option<Document>> {
        let file = Arc::clone(self.elements.path());
        let Some(Element { record, line, offset, bytes }) = self.elements.next_element()? else { return Ok(None) };
        let place = Place { file, record, within: Within::Line(line) };
        let bytes = bytes.ok_or_else(|| too_long(&place, self.limit, ""))?;
        read_record(bytes, offset, place, &self.text_field).map(Some)
    }
}

fn read_record(bytes: &[u8], offset: u64, place: Place, text_field: &str) -> Outcome<Document> {
    let json = text_of(bytes, offset, &place)?;
    let value = serde_json::from_str(json).map_err(|error| no_json(&place, &error))?;
    Ok(Document { text: text_in(value, text_field, &place)?, place })
}

/// What serde says, with the position counted in the record.
fn no_json(place: &Place, error: &serde_json::Error) -> Flaw {
    let message = error.to_string();
    let what = message.rsplit_once(" at line ").map_or(&*message, |(what, _)| what);
    bad_record(place, format!("this is no JSON: {what} (line {}, column {} of the record)", error.line(), error.column()), "")
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
