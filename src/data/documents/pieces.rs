//! A file cut at every occurrence of a separator, in bounded memory: the lines of a `.jsonl`, the documents of a `.txt`. Owns the search
//! across blocks and the passing over of a piece that is too long.

use super::opened::Opened;
use crate::Result;
use memchr::memmem::Finder;

/// A buffer that grew beyond this for one long piece is given back behind it.
const USUAL_BYTES: usize = 1 << 20;

/// What stands between two separators.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// None where it is too long.
    pub bytes: Option<&'a [u8]>,
}

/// A file's pieces, one after another.
pub(super) struct Pieces {
    opened: Opened,
    /// None: the file is one piece.
    separator: Option<Finder<'static>>,
    limit: usize,
    buffer: Vec<u8>,
    /// Where in the buffer the next piece begins.
    from: usize,
    /// Offset in the file of that place.
    offset: u64,
}

impl Pieces {
    /// Cuts at `separator`, which is not empty; pieces of more than `limit` bytes are passed over.
    pub fn new(opened: Opened, separator: Option<&str>, limit: usize) -> Self {
        let separator = separator.map(|text| Finder::new(text.as_bytes()).into_owned());
        Self { offset: opened.offset(), opened, separator, limit, buffer: Vec::new(), from: 0 }
    }

    /// The next piece, maybe an empty one; none behind the last. A separator at the end of the file has no piece behind it.
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>> {
        let (offset, mut searched, mut is_too_long) = (self.offset, 0, false);
        loop {
            if let Some((length, separator)) = self.find(searched) {
                return Ok(Some(self.take(offset, length, separator, is_too_long)));
            }
            searched = (self.available() + 1).saturating_sub(self.separator_bytes()).max(searched);
            if searched > self.limit || is_too_long {
                is_too_long = true;
                self.skip(searched);
                searched = 0;
            }
            if !self.fill()? {
                break;
            }
        }
        let length = self.available();
        let is_piece = length > 0 || is_too_long;
        Ok(is_piece.then(|| self.take(offset, length, 0, is_too_long)))
    }

    /// The piece that begins where the buffer is read and is followed by `separator` bytes.
    fn take(&mut self, offset: u64, length: usize, separator: usize, is_too_long: bool) -> Piece<'_> {
        let from = self.from;
        self.skip(length + separator);
        let is_whole = !is_too_long && length <= self.limit;
        Piece { offset, bytes: is_whole.then(|| &self.buffer[from..from + length]) }
    }

    /// Bytes up to the next separator that begins at `searched` or behind it, and its own.
    fn find(&self, searched: usize) -> Option<(usize, usize)> {
        let separator = self.separator.as_ref()?;
        let at = separator.find(self.buffer.get(self.from + searched..)?)?;
        Some((searched + at, separator.needle().len()))
    }

    /// Without a separator, 1: every byte that is there was looked at.
    fn separator_bytes(&self) -> usize {
        self.separator.as_ref().map_or(1, |separator| separator.needle().len())
    }

    fn available(&self) -> usize {
        self.buffer.len() - self.from
    }

    fn skip(&mut self, length: usize) {
        self.from += length;
        self.offset += length as u64;
    }

    /// Puts more of the file behind what is there; false at its end.
    fn fill(&mut self) -> Result<bool> {
        if self.from > 0 {
            self.buffer.drain(..self.from);
            self.from = 0;
            if self.buffer.capacity() > USUAL_BYTES && self.buffer.len() < USUAL_BYTES {
                self.buffer.shrink_to(USUAL_BYTES);
            }
        }
        let block = self.opened.fill()?;
        let length = block.len();
        self.buffer.extend_from_slice(block);
        self.opened.consume(length);
        Ok(length > 0)
    }

    /// The file.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }
}
