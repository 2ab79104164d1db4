//! BLAKE3 of contents, as 64 lower-case hexadecimal digits: of bytes, of what is being written, of what is being read.

use std::io::{self, Read, Write};

/// The hash of `content`.
pub fn content_hash(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}

/// The hash of everything that `reader` gives, and how many bytes that was. Holds 64 KiB of it at a time.
pub fn hash_reader(mut reader: impl Read) -> io::Result<(String, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finalize().to_hex().to_string(), hasher.count())),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
    }
}

/// Passes everything on, hashing it on the way.
pub struct HashingWriter<W> {
    inner: W,
    hasher: blake3::Hasher,
}

impl<W: Write> HashingWriter<W> {
    /// Nothing written yet.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: blake3::Hasher::new() }
    }

    /// What is written to, the hash, and the number of bytes of all that went through.
    pub fn finish(self) -> (W, String, u64) {
        (self.inner, self.hasher.finalize().to_hex().to_string(), self.hasher.count())
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
