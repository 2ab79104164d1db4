//! Writing a shard, document by document; only the index is held in memory.

use super::layout::{HEADER_BYTES, header, index_offset, trailer};
use super::{PackedDocuments, TokenWidth};
use crate::storage::{FileSystem, StreamedFile};
use crate::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::Path;

/// What a manifest says of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRecord {
    /// Its name in the directory.
    pub file: String,
    /// Tokens in it.
    pub tokens: u64,
    /// Documents in it.
    pub documents: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Hash of the file, 64 hexadecimal digits.
    pub blake3: String,
}

/// A shard that is being written; the file is there when it is [finished](Self::finish), and not before.
pub struct ShardWriter<'fs> {
    file: StreamedFile<'fs>,
    width: TokenWidth,
    num_tokens: u64,
    /// For each document, the number of tokens up to its end.
    ends: Vec<u64>,
}

impl<'fs> ShardWriter<'fs> {
    /// Begins the shard that will be at `path`, of ids below `vocab_size`.
    pub fn create(fs: &'fs dyn FileSystem, path: &Path, vocab_size: usize) -> Result<Self> {
        let mut file = StreamedFile::create(fs, path)?;
        file.write_all(&header(vocab_size)).context(|| format!("writing {}", path.display()))?;
        Ok(Self { file, width: TokenWidth::of_vocabulary(vocab_size), num_tokens: 0, ends: Vec::new() })
    }

    /// Adds documents, which were packed for the same vocabulary.
    pub fn write(&mut self, documents: &PackedDocuments) -> Result<()> {
        if documents.width != self.width {
            return Err(Error::ours("documents were packed for another vocabulary than the shard's"));
        }
        self.file.write_all(&documents.bytes).context(|| format!("writing {}", self.file.path().display()))?;
        for length in &documents.lengths {
            self.num_tokens += length;
            self.ends.push(self.num_tokens);
        }
        Ok(())
    }

    /// Puts the file in its place, synced. Dropping the writer instead leaves nothing.
    pub fn finish(mut self) -> Result<ShardRecord> {
        self.write_end().context(|| format!("writing {}", self.file.path().display()))?;
        let name = self.file.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let content = self.file.commit()?;
        let documents = self.ends.len() as u64;
        Ok(ShardRecord { file: name, tokens: self.num_tokens, documents, bytes: content.bytes, blake3: content.blake3 })
    }

    fn write_end(&mut self) -> io::Result<()> {
        let token_bytes = self.num_tokens * self.width.bytes() as u64;
        let index_at = index_offset(token_bytes).ok_or(io::ErrorKind::FileTooLarge)?;
        let padding = index_at - HEADER_BYTES - token_bytes;
        self.file.write_all(&[0; 8][..padding as usize])?;
        self.ends.iter().try_for_each(|end| self.file.write_all(&end.to_le_bytes()))?;
        self.file.write_all(&trailer(self.num_tokens, self.ends.len() as u64, index_at))
    }
}
