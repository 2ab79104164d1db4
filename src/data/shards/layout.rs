//! Where things are in a shard file: ours, and those of other programs. Owns the bytes of header and trailer and every check of a file
//! that needs no more than its first and last bytes.
//!
//! ```text
//! bytes 0..32     magic "BITNETTS", version u32 = 1, bytes of a token u32 (2 or 4), vocabulary size u64, zero u64
//! tokens          little-endian, 2 or 4 bytes each, one document after another, then zeros up to a multiple of 8 bytes
//! index           for each document, u64: the number of tokens up to its end
//! last 32 bytes   number of tokens u64, number of documents u64, offset of the index u64, magic "BITNETTE"
//! ```
//! All numbers are little-endian. What is known only at the end stands at the end, because a file that must be whole or absent is
//! written forwards.

use super::TokenWidth;
use crate::{Context, Error, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: &[u8; 8] = b"BITNETTS";
const END_MAGIC: &[u8; 8] = b"BITNETTE";
const VERSION: u32 = 1;
/// Bytes before the first token.
pub(super) const HEADER_BYTES: u64 = 32;
/// Bytes behind the index.
pub(super) const TRAILER_BYTES: u64 = 32;
/// Bytes of an entry of the index; the index begins at a multiple of it.
pub(super) const INDEX_ENTRY_BYTES: u64 = 8;

/// llm.c writes 256 numbers of four bytes before the tokens: magic, version, number of tokens, zeros.
const LLM_C_HEADER_BYTES: u64 = 1024;
/// Magic, version, width: what llm.c writes for GPT-2's ids (FineWeb too), and for LLaMA 3's.
const LLM_C_FORMATS: [(u32, u32, TokenWidth); 2] = [(20_240_520, 1, TokenWidth::Two), (20_240_801, 7, TokenWidth::Four)];

/// What a file holds and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Offset of the first token.
    pub tokens_at: u64,
    pub width: TokenWidth,
    pub num_tokens: u64,
    /// None in files of other programs.
    pub own: Option<OwnLayout>,
}

/// What only our own files say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnLayout {
    pub vocab_size: u64,
    pub num_documents: u64,
    pub index_at: u64,
}

/// The first bytes of a file.
pub(super) fn header(vocab_size: usize) -> [u8; HEADER_BYTES as usize] {
    let width = TokenWidth::of_vocabulary(vocab_size).bytes() as u32;
    let mut bytes = [0; HEADER_BYTES as usize];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&width.to_le_bytes());
    bytes[16..24].copy_from_slice(&(vocab_size as u64).to_le_bytes());
    bytes
}

/// The last bytes of a file.
pub(super) fn trailer(num_tokens: u64, num_documents: u64, index_at: u64) -> [u8; TRAILER_BYTES as usize] {
    let mut bytes = [0; TRAILER_BYTES as usize];
    bytes[..8].copy_from_slice(&num_tokens.to_le_bytes());
    bytes[8..16].copy_from_slice(&num_documents.to_le_bytes());
    bytes[16..24].copy_from_slice(&index_at.to_le_bytes());
    bytes[24..].copy_from_slice(END_MAGIC);
    bytes
}

/// Where the index begins behind tokens that take `token_bytes`.
pub(super) fn index_offset(token_bytes: u64) -> Option<u64> {
    HEADER_BYTES.checked_add(token_bytes)?.checked_next_multiple_of(INDEX_ENTRY_BYTES)
}

impl Layout {
    /// What the file at `path` holds, judged by its beginning: ours, llm.c's, or else nanoGPT's, which is two bytes a token and nothing
    /// else.
    pub fn of(file: &File, path: &Path) -> Result<Self> {
        let length = file.metadata().context(|| format!("looking at {}", path.display()))?.len();
        let mut start = [0; HEADER_BYTES as usize];
        let known = start.len().min(usize::try_from(length).unwrap_or(usize::MAX));
        file.read_exact_at(&mut start[..known], 0).context(|| format!("reading {}", path.display()))?;
        if start.starts_with(MAGIC) {
            return Self::own(file, path, &start, length);
        }
        let magic = number32(&start, 0);
        match LLM_C_FORMATS.iter().find(|format| format.0 == magic && known >= 12) {
            Some(&(_, version, width)) => Self::llm_c(path, &start, length, version, width),
            None => Self::nano_gpt(path, length),
        }
    }

    fn own(file: &File, path: &Path, start: &[u8], length: u64) -> Result<Self> {
        let version = number32(start, 8);
        if version > VERSION {
            let message = format!("{} has version {version}, and this program reads up to {VERSION}", path.display());
            return Err(Error::input(message).hint("use the version of bitnet that wrote it"));
        }
        let vocab_size = number64(start, 16);
        let width = usize::try_from(vocab_size).map(TokenWidth::of_vocabulary);
        let width = width.ok().filter(|width| version == VERSION && number32(start, 12) as usize == width.bytes());
        let width = width.ok_or_else(|| damaged(path, "its header is not what was written"))?;
        let (num_tokens, num_documents, index_at) = read_trailer(file, path, length, width)?;
        Ok(Self { tokens_at: HEADER_BYTES, width, num_tokens, own: Some(OwnLayout { vocab_size, num_documents, index_at }) })
    }

    fn llm_c(path: &Path, start: &[u8], length: u64, version: u32, width: TokenWidth) -> Result<Self> {
        let (found, num_tokens) = (number32(start, 4), u64::from(number32(start, 8)));
        if found != version {
            return Err(Error::input(format!("{} is of llm.c's version {found}, and {version} is the one known", path.display())));
        }
        let expected = LLM_C_HEADER_BYTES + num_tokens * width.bytes() as u64;
        if length != expected {
            let message = format!("{} promises {num_tokens} tokens in {expected} bytes and has {length} bytes", path.display());
            return Err(Error::input(message).hint("fetch or write it again"));
        }
        Ok(Self { tokens_at: LLM_C_HEADER_BYTES, width, num_tokens, own: None })
    }

    fn nano_gpt(path: &Path, length: u64) -> Result<Self> {
        if length == 0 || !length.is_multiple_of(2) {
            let message = format!("{} has {length} bytes, which is no number of two-byte tokens", path.display());
            return Err(Error::input(message).hint("it has neither our header nor llm.c's, so it was taken for nanoGPT's"));
        }
        Ok(Self { tokens_at: 0, width: TokenWidth::Two, num_tokens: length / 2, own: None })
    }
}

/// Number of tokens, number of documents, offset of the index; checked against each other and the length.
fn read_trailer(file: &File, path: &Path, length: u64, width: TokenWidth) -> Result<(u64, u64, u64)> {
    let at = length.checked_sub(TRAILER_BYTES).filter(|&at| at >= HEADER_BYTES).ok_or_else(|| damaged(path, "it is cut short"))?;
    let mut bytes = [0; TRAILER_BYTES as usize];
    file.read_exact_at(&mut bytes, at).context(|| format!("reading {}", path.display()))?;
    let (num_tokens, num_documents, index_at) = (number64(&bytes, 0), number64(&bytes, 8), number64(&bytes, 16));
    let expected_index = num_tokens.checked_mul(width.bytes() as u64).and_then(index_offset);
    let expected_end = num_documents.checked_mul(INDEX_ENTRY_BYTES).and_then(|bytes| index_at.checked_add(bytes));
    if !bytes.ends_with(END_MAGIC) || expected_index != Some(index_at) || expected_end != Some(at) {
        return Err(damaged(path, "it does not end as it was written"));
    }
    Ok((num_tokens, num_documents, index_at))
}

/// The cure of a prepared directory that is not what it was.
pub(in crate::data) const PREPARE_AGAIN: &str =
    "`just prepare-data EXPERIMENT`, with the --data, --tokenizer and --set that made it, finds what is damaged and makes it again";

/// The error for a file that is not what was written.
pub(in crate::data) fn damaged(path: &Path, reason: &str) -> Error {
    let message = format!("the token shard {} is damaged: {reason}", path.display());
    Error::input(message).hint(PREPARE_AGAIN)
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |number, &byte| number << 8 | u32::from(byte))
}

fn number64(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}
