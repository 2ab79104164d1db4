//! Reading a log that may be absent, empty, damaged, or in the middle of a write.

use super::row::{Decoder, LogFormat, LogRow};
use crate::storage::FileSystem;
use crate::{Context, Error, Result};
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The rows of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogContent<R> {
    /// Every row that can be read, in the order of the file.
    pub rows: Vec<R>,
    /// The numbers of the lines, from 1, that are whole but no rows: what a power cut leaves of lines that were never synced.
    pub damaged_lines: Vec<u64>,
}

/// Reads a log. An absent or empty one has no rows. A last line without its newline is still being written, or was torn, and is left
/// out.
pub fn read_log<R: LogRow>(fs: &dyn FileSystem, path: &Path) -> Result<LogContent<R>> {
    let content = read_if_present(fs, path)?.unwrap_or_default();
    let lines = scan::<R>(&content);
    let mut read = LogContent { rows: Vec::new(), damaged_lines: Vec::new() };
    for line in lines {
        match line.row {
            Some(row) => read.rows.push(row),
            None => read.damaged_lines.push(line.number),
        }
    }
    Ok(read)
}

/// A whole line of a log; the header is none of them.
pub(super) struct Line<'a, R> {
    pub(super) number: u64,
    /// With its newline.
    pub(super) text: &'a [u8],
    pub(super) row: Option<R>,
}

pub(super) fn scan<R: LogRow>(content: &[u8]) -> Vec<Line<'_, R>> {
    let mut lines = content.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")).zip(1..);
    let mut header = None;
    if matches!(R::FORMAT, LogFormat::Csv(_)) {
        header = lines.next();
    }
    let decoder = Decoder::new::<R>(header.map(|(line, _)| without_newline(line)));
    let misplaced = if decoder.is_none() { header } else { None };
    let decode = |(text, number)| Line { number, text, row: decoder.as_ref().and_then(|decoder| decoder.decode(without_newline(text))) };
    misplaced.into_iter().chain(lines).map(decode).collect()
}

fn without_newline(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

pub(super) fn read_if_present(fs: &dyn FileSystem, path: &Path) -> Result<Option<Vec<u8>>> {
    let mut content = Vec::new();
    match fs.open(path).and_then(|mut file| file.read_to_end(&mut content)) {
        Ok(_) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::from(error)).context(|| format!("reading {}", path.display())),
    }
}
