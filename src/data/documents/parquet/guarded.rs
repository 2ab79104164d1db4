//! What stands between the parquet crate and a file that lies: every size that it would allocate by is looked at first. Owns the budget.

use super::thrift::{Compact, is_sound_metadata, page_sizes};
use ::parquet::basic::Encoding;
use ::parquet::column::page::{Page, PageMetadata, PageReader};
use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::Bytes;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A page may have so many bytes, as it lies there and decompressed; writers make pages of about a mebibyte, if no value is longer.
const MAX_PAGE_BYTES: i64 = 128 << 20;
/// The same where a value is written as what it adds to the one before: each value of a batch can be as long as the page.
const MAX_DELTA_PAGE_BYTES: usize = 16 << 20;
/// So many values may such a page have: their lengths are decoded all at once.
const MAX_DELTA_VALUES: u64 = 1 << 22;
/// The metadata at the end of a file.
const MAX_METADATA_BYTES: u64 = 64 << 20;
/// Length of the metadata and the magic.
const TAIL_BYTES: u64 = 8;
/// In so many bytes lie the three numbers with which the header of a page begins.
const PAGE_HEADER_START: usize = 24;

fn refused<T>(message: impl Into<String>) -> Result<T> {
    Err(ParquetError::General(message.into()))
}

/// A file of which nothing is read that is larger than the budget.
pub(super) struct GuardedFile {
    file: Arc<File>,
    length: u64,
    bytes_read: Arc<AtomicU64>,
}

impl GuardedFile {
    /// `bytes_read` grows by what is read.
    pub fn new(file: File, bytes_read: Arc<AtomicU64>) -> io::Result<Self> {
        Ok(Self { length: file.metadata()?.len(), file: Arc::new(file), bytes_read })
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether the metadata at the end can be given to the crate.
    pub fn check_footer(&self) -> Result<()> {
        let mut tail = [0; TAIL_BYTES as usize];
        let tail_at = self.length.saturating_sub(TAIL_BYTES);
        self.file.read_exact_at(&mut tail, tail_at)?;
        if tail[4..] != *b"PAR1" {
            return refused("it does not end like one");
        }
        let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
        let Some(start) = tail_at.checked_sub(length).filter(|_| length <= MAX_METADATA_BYTES) else {
            return refused(format!("it promises metadata of {length} bytes"));
        };
        let mut metadata = vec![0; length as usize];
        self.file.read_exact_at(&mut metadata, start)?;
        if is_sound_metadata(&metadata) { Ok(()) } else { refused("its metadata makes no sense") }
    }

    fn check_page(&self, start: u64) -> Result<()> {
        let mut header = [0; PAGE_HEADER_START];
        let known = header.len().min(usize::try_from(self.length.saturating_sub(start)).unwrap_or(usize::MAX));
        self.file.read_exact_at(&mut header[..known], start)?;
        match page_sizes(&header[..known]) {
            Some((whole, stored)) if (0..=MAX_PAGE_BYTES).contains(&whole) && (0..=MAX_PAGE_BYTES).contains(&stored) => Ok(()),
            Some((whole, _)) => refused(format!("a page of {whole} bytes, and {MAX_PAGE_BYTES} is the most that is read")),
            None => refused(format!("there is no page at byte {start}")),
        }
    }
}

impl Length for GuardedFile {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for GuardedFile {
    type T = BufReader<FileFrom>;

    /// The crate asks for a reader where the header of a page begins, and where the last bytes of the file do.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        if start.checked_add(TAIL_BYTES).is_none_or(|end| end > self.length) {
            return refused(format!("it promises something at byte {start}, and has {} bytes", self.length));
        }
        if start + TAIL_BYTES != self.length {
            self.check_page(start)?;
        }
        Ok(BufReader::with_capacity(1 << 10, FileFrom { file: Arc::clone(&self.file), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let is_inside = start.checked_add(length as u64).is_some_and(|end| end <= self.length);
        if !is_inside || length as u64 > MAX_PAGE_BYTES as u64 {
            return refused(format!("it promises {length} bytes at byte {start}, and has {} bytes", self.length));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        self.bytes_read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(bytes.into())
    }
}

/// A file from some byte on; the position is its own.
pub(super) struct FileFrom {
    file: Arc<File>,
    at: u64,
}

impl Read for FileFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// The pages of a column of byte strings, each looked at before it is decoded.
pub(super) struct GuardedPages {
    inner: Box<dyn PageReader>,
    has_levels: bool,
}

impl GuardedPages {
    /// `has_levels`: whether values can be absent.
    pub fn new(inner: Box<dyn PageReader>, has_levels: bool) -> Self {
        Self { inner, has_levels }
    }

    fn check(&self, page: &Page) -> Result<()> {
        const LENGTH_BYTES: usize = 4; // A value of a dictionary takes at least the bytes of its length.
        match page {
            Page::DictionaryPage { buf, num_values, .. } if *num_values as usize > buf.len() / LENGTH_BYTES => {
                refused(format!("a dictionary of {num_values} values in {} bytes", buf.len()))
            }
            Page::DictionaryPage { .. } => Ok(()),
            Page::DataPage { buf, encoding, .. } => check_values(*encoding, self.behind_levels(buf)),
            Page::DataPageV2 { buf, encoding, def_levels_byte_len, rep_levels_byte_len, .. } => {
                let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
                check_values(*encoding, buf.get(levels..))
            }
        }
    }

    /// The values of a page of the first version, whose levels begin with their length.
    fn behind_levels<'a>(&self, page: &'a [u8]) -> Option<&'a [u8]> {
        if !self.has_levels {
            return Some(page);
        }
        let (length, rest) = page.split_first_chunk::<4>()?;
        rest.get(u32::from_le_bytes(*length) as usize..)
    }
}

/// Whether the lengths that the crate decodes all at once are not too many.
fn check_values(encoding: Encoding, values: Option<&[u8]>) -> Result<()> {
    let num_lists = match encoding {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
        Encoding::DELTA_BYTE_ARRAY => 2, // What is taken from the value before, and what is added.
        _ => return Ok(()),
    };
    let mut rest = Compact::new(values.unwrap_or_default());
    let num_lists = if rest.left() == 0 { 0 } else { num_lists };
    if rest.left() > MAX_DELTA_PAGE_BYTES {
        return refused(format!("a page of {} bytes whose values are written as differences", rest.left()));
    }
    match (0..num_lists).try_for_each(|_| skip_numbers(&mut rest)) {
        Some(()) => Ok(()),
        None => refused("a page whose values have no lengths, or too many"),
    }
}

/// Passes a list of numbers that is written as differences, if it is whole and not too long.
fn skip_numbers(bytes: &mut Compact<'_>) -> Option<()> {
    let (block, parts, count) = (bytes.unsigned()?, bytes.unsigned()?, bytes.unsigned()?);
    bytes.signed()?; // The first value.
    if count > MAX_DELTA_VALUES || parts == 0 || parts > block {
        return None;
    }
    let values_in_part = block / parts;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        bytes.signed()?; // The least difference.
        let widths: Vec<u8> = (0..parts).map(|_| bytes.byte()).collect::<Option<_>>()?;
        for width in widths.into_iter().map(u64::from) {
            if left > 0 {
                bytes.skip_bytes(values_in_part.checked_mul(width)?.div_ceil(8))?;
                left = left.saturating_sub(values_in_part);
            }
        }
    }
    Some(())
}

impl Iterator for GuardedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for GuardedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page()?;
        page.iter().try_for_each(|page| self.check(page))?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }
}
