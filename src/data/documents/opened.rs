//! A file being read from its start, decompressed on the way. Owns what is said when its bytes cannot be had; what they mean is left to
//! each format.

use super::sources::{Compression, empty};
use crate::{Context, Error, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that are taken from a file, or a decoder, at once.
const BLOCK_BYTES: usize = 1 << 16;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A file's decompressed content.
pub(super) struct Opened {
    reader: BufReader<Box<dyn Read>>,
    path: Arc<Path>,
    offset: u64,
}

impl Opened {
    /// Opens the file; `bytes_read` grows by what is taken from the disk. A mark of the byte order at the start is passed over.
    ///
    /// # Errors
    /// A file that is absent or holds nothing, compressed or not.
    pub fn new(path: &Arc<Path>, compression: Compression, bytes_read: &Arc<AtomicU64>) -> Result<Self> {
        let file = File::open(path).context(|| format!("opening {}", path.display()))?;
        let counted = CountedRead { inner: file, bytes_read: Arc::clone(bytes_read) };
        let reader = decompressed(counted, compression).context(|| format!("opening {}", path.display()))?;
        let mut opened = Self { reader: BufReader::with_capacity(BLOCK_BYTES, reader), path: Arc::clone(path), offset: 0 };
        let start = opened.start()?;
        if start.is_empty() {
            return Err(empty(path));
        }
        if start == BYTE_ORDER_MARK {
            opened.offset = start.len() as u64;
        } else {
            let rest = std::mem::replace(&mut opened.reader, BufReader::new(Box::new(io::empty())));
            opened.reader = BufReader::with_capacity(BLOCK_BYTES, Box::new(io::Cursor::new(start).chain(rest)));
        }
        Ok(opened)
    }

    /// The first bytes, as many as the mark has.
    fn start(&mut self) -> Result<Vec<u8>> {
        let mut start = Vec::new();
        let read = self.reader.by_ref().take(BYTE_ORDER_MARK.len() as u64).read_to_end(&mut start);
        read.map(|_| start).map_err(|error| broken(&self.path, 0, error))
    }

    /// The next bytes, at least one; none at the end. They stay until [`consume`](Self::consume) passes them.
    pub fn fill(&mut self) -> Result<&[u8]> {
        loop {
            match self.reader.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(&self.path, self.offset, error)),
            }
        }
        Ok(self.reader.buffer())
    }

    /// Passes `length` of the bytes that [`fill`](Self::fill) gave.
    pub fn consume(&mut self, length: usize) {
        self.reader.consume(length);
        self.offset += length as u64;
    }

    /// Bytes of content before the next.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The file.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }
}

fn decompressed(file: CountedRead<File>, compression: Compression) -> io::Result<Box<dyn Read>> {
    let buffered = BufReader::with_capacity(BLOCK_BYTES, file);
    Ok(match compression {
        Compression::None => Box::new(buffered),
        Compression::Gzip => Box::new(MultiGzDecoder::new(buffered)),
        Compression::Zstandard => Box::new(zstd::Decoder::with_buffer(buffered)?),
    })
}

/// A disk that fails is no fault of the file; everything else is.
fn broken(path: &Path, offset: u64, error: io::Error) -> Error {
    if error.raw_os_error().is_some() {
        return Error::from(error).context(format!("reading {}", path.display()));
    }
    let message = format!("{} is broken behind byte {offset} of its content: {error}", path.display());
    Error::input(message).hint("it is cut short or damaged: fetch it again")
}

struct CountedRead<R> {
    inner: R,
    bytes_read: Arc<AtomicU64>,
}

impl<R: Read> Read for CountedRead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.bytes_read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}
