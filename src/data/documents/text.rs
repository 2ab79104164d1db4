//! A `.txt`: its documents stand between separators, or it is one.

use super::document::{Document, DocumentSettings, Flaw, Place, Records, Within, text_of, too_long};
use super::opened::Opened;
use super::pieces::{Piece, Pieces};
use std::sync::Arc;

/// The documents of a `.txt`.
pub(super) struct TextDocuments {
    pieces: Pieces,
    record: u64,
    limit: usize,
}

impl TextDocuments {
    /// `limit` is the most bytes a document may have.
    pub fn new(opened: Opened, settings: &DocumentSettings, limit: usize) -> Self {
        Self { pieces: Pieces::new(opened, settings.document_separator.as_deref(), limit), record: 0, limit }
    }
}

impl Records for TextDocuments {
    fn next_document(&mut self) -> Result<Option<Document>, Flaw> {
        let file = Arc::clone(self.pieces.opened().path());
        let Some(Piece { offset, bytes }) = self.pieces.next_piece()? else { return Ok(None) };
        self.record += 1;
        let place = Place { file, record: self.record, within: Within::Byte(offset) };
        let cure = "--set 'data.text.document_separator=<|endoftext|>' names what stands between its documents, such as that, or cut the file into several";
        let bytes = bytes.ok_or_else(|| too_long(&place, self.limit, cure))?;
        Ok(Some(Document { text: text_of(bytes, offset, &place)?.to_owned(), place }))
    }
}
