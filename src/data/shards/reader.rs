//! Many shards as one sequence of tokens. Owns positions across files and the checks of what is read.

use super::ShardRecord;
use super::layout::{INDEX_ENTRY_BYTES, Layout, damaged};
use crate::storage::hash_reader;
use crate::{Context, Error, Result};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes that are read at once, on the stack: several windows of a usual length.
const BLOCK_BYTES: usize = 1 << 14;
/// Tokens that [`TokenShards::verify`] looks at at once.
const VERIFIED_AT_ONCE: usize = 1 << 16;

/// The tokens of shard files, one after another. Reading needs no lock and keeps no position, so that threads can share it.
#[derive(Debug)]
pub struct TokenShards {
    shards: Vec<Shard>,
    vocab_size: usize,
    num_tokens: u64,
    /// None where a file does not say where its documents end.
    num_documents: Option<u64>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: File,
    layout: Layout,
    /// Tokens, and documents, of all shards before it.
    tokens_before: u64,
    documents_before: u64,
    /// What the manifest says of it.
    record: Option<ShardRecord>,
}

impl TokenShards {
    /// Opens the shards that a manifest lists, which lie in `dir`.
    ///
    /// # Errors
    /// A file that is absent, has another length than was recorded, or whose header or end says something else.
    pub fn of_records(dir: &Path, records: &[ShardRecord], vocab_size: usize) -> Result<Self> {
        let mut shards = Self::empty(vocab_size);
        for record in records {
            let shard = Shard::open(&dir.join(&record.file))?;
            shard.compare(record)?;
            shards.push(Shard { record: Some(record.clone()), ..shard })?;
        }
        Ok(shards)
    }

    /// Opens files of any known format as they are: ours, llm.c's (FineWeb, LLaMA 3) with its header of 256 numbers, or nanoGPT's bare
    /// two-byte ids. Ids are below `vocab_size`.
    pub fn open_files(paths: &[PathBuf], vocab_size: usize) -> Result<Self> {
        let mut shards = Self::empty(vocab_size);
        paths.iter().try_for_each(|path| shards.push(Shard::open(path)?))?;
        Ok(shards)
    }

    fn empty(vocab_size: usize) -> Self {
        Self { shards: Vec::new(), vocab_size, num_tokens: 0, num_documents: Some(0) }
    }

    fn push(&mut self, mut shard: Shard) -> Result<()> {
        shard.tokens_before = self.num_tokens;
        shard.documents_before = self.num_documents.unwrap_or(0);
        if let Some(own) = shard.layout.own.filter(|own| own.vocab_size != self.vocab_size as u64) {
            let message = format!("{} is of a vocabulary of {}, not {}", shard.path.display(), own.vocab_size, self.vocab_size);
            return Err(Error::input(message).hint("use the tokenizer that the shards were made with"));
        }
        let counted = self.num_documents.zip(shard.layout.own);
        self.num_documents = counted.map(|(before, own)| before.saturating_add(own.num_documents));
        let num_tokens = self.num_tokens.checked_add(shard.layout.num_tokens);
        self.num_tokens = num_tokens.ok_or_else(|| damaged(&shard.path, "it promises more tokens than there can be"))?;
        self.shards.push(shard);
        Ok(())
    }

    /// Tokens of all shards.
    pub fn num_tokens(&self) -> u64 {
        self.num_tokens
    }

    /// Documents of all shards; none where a file is another program's, which does not tell.
    pub fn num_documents(&self) -> Option<u64> {
        self.num_documents
    }

    /// Every id is below it.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Fills `out` with the tokens from position `start` on, across the borders of shards.
    ///
    /// # Errors
    /// A range that goes beyond the end, a file that was cut short since it was opened, an id outside the vocabulary.
    pub fn read(&self, start: u64, out: &mut [u32]) -> Result<()> {
        let end = start.checked_add(out.len() as u64).filter(|&end| end <= self.num_tokens);
        end.ok_or_else(|| Error::ours(format!("tokens {start} to {} of {}", start.saturating_add(out.len() as u64), self.num_tokens)))?;
        let (mut position, mut rest) = (start, out);
        while !rest.is_empty() {
            let shard = self.shard_at(position, |shard| shard.tokens_before)?;
            let offset = position - shard.tokens_before;
            let here = usize::try_from(shard.layout.num_tokens - offset).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_mut(here);
            shard.read(offset, now, self.vocab_size)?;
            position += here as u64;
            rest = later;
        }
        Ok(())
    }

    /// The positions of the tokens of document `index`, counted from 0 over all shards.
    pub fn document(&self, index: u64) -> Result<Range<u64>> {
        if self.num_documents.is_none_or(|documents| index >= documents) {
            return Err(Error::ours(format!("document {index} of {:?}", self.num_documents)));
        }
        let shard = self.shard_at(index, |shard| shard.documents_before)?;
        let range = shard.document(index - shard.documents_before)?;
        Ok(shard.tokens_before + range.start..shard.tokens_before + range.end)
    }

    /// The last shard before which there are at most `position` of what `before` counts: an empty one is passed over.
    fn shard_at(&self, position: u64, before: impl Fn(&Shard) -> u64) -> Result<&Shard> {
        let following = self.shards.partition_point(|shard| before(shard) <= position);
        following.checked_sub(1).and_then(|at| self.shards.get(at)).ok_or_else(|| Error::ours("there are no shards"))
    }

    /// Reads every byte: compares hashes with the manifest, or, where there is none, looks whether every id is in the vocabulary.
    ///
    /// # Errors
    /// The first file that is not what was written, by name.
    pub fn verify(&self) -> Result<()> {
        self.shards.iter().try_for_each(|shard| match &shard.record {
            Some(record) => shard.verify_hash(record),
            None => shard.verify_ids(self.vocab_size),
        })
    }
}

impl Shard {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| cannot_open(path, error))?;
        let layout = Layout::of(&file, path)?;
        Ok(Self { path: path.to_owned(), file, layout, tokens_before: 0, documents_before: 0, record: None })
    }

    fn compare(&self, record: &ShardRecord) -> Result<()> {
        let bytes = self.file.metadata().context(|| format!("looking at {}", self.path.display()))?.len();
        if bytes != record.bytes {
            return Err(damaged(&self.path, &format!("it has {bytes} bytes instead of {}", record.bytes)));
        }
        let own = self.layout.own.ok_or_else(|| damaged(&self.path, "it does not begin like a token shard"))?;
        if (self.layout.num_tokens, own.num_documents) != (record.tokens, record.documents) {
            return Err(damaged(&self.path, "it does not hold as many tokens and documents as were recorded"));
        }
        Ok(())
    }

    fn read(&self, offset: u64, out: &mut [u32], vocab_size: usize) -> Result<()> {
        let width = self.layout.width;
        let mut block = [0; BLOCK_BYTES];
        let mut position = offset;
        for part in out.chunks_mut(BLOCK_BYTES / width.bytes()) {
            let bytes = &mut block[..part.len() * width.bytes()];
            self.read_bytes(bytes, self.layout.tokens_at + position * width.bytes() as u64)?;
            width.unpack(bytes, part);
            if let Some(at) = part.iter().position(|&token| token as usize >= vocab_size) {
                return Err(self.outside(position + at as u64, part[at], vocab_size));
            }
            position += part.len() as u64;
        }
        Ok(())
    }

    fn outside(&self, position: u64, token: u32, vocab_size: usize) -> Error {
        let message = format!("token {position} of {} is {token}, and the vocabulary ends at {vocab_size}", self.path.display());
        Error::input(message).hint("the file is damaged, or of another tokenizer or format")
    }

    fn read_bytes(&self, bytes: &mut [u8], at: u64) -> Result<()> {
        self.file.read_exact_at(bytes, at).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => damaged(&self.path, "it was cut short since it was opened"),
            _ => Error::from(error).context(format!("reading {}", self.path.display())),
        })
    }

    fn document(&self, index: u64) -> Result<Range<u64>> {
        let own = self.layout.own.ok_or_else(|| Error::ours(format!("{} has no index", self.path.display())))?;
        let mut ends = [[0; INDEX_ENTRY_BYTES as usize]; 2];
        for (end, entry) in ends.iter_mut().zip([index.checked_sub(1), Some(index)]) {
            if let Some(entry) = entry {
                self.read_bytes(end, own.index_at + entry * INDEX_ENTRY_BYTES)?;
            }
        }
        let [start, end] = ends.map(u64::from_le_bytes);
        if start > end || end > self.layout.num_tokens {
            return Err(damaged(&self.path, &format!("document {index} goes from {start} to {end}")));
        }
        Ok(start..end)
    }

    fn verify_hash(&self, record: &ShardRecord) -> Result<()> {
        let file = File::open(&self.path).map_err(|error| cannot_open(&self.path, error))?;
        let read = hash_reader(file.take(record.bytes.saturating_add(1)));
        let (hash, _) = read.context(|| format!("reading {}", self.path.display()))?;
        if hash != record.blake3 {
            return Err(damaged(&self.path, "its hash is not the recorded one"));
        }
        Ok(())
    }

    fn verify_ids(&self, vocab_size: usize) -> Result<()> {
        let mut tokens = vec![0; VERIFIED_AT_ONCE];
        let mut position = 0;
        while position < self.layout.num_tokens {
            let here = (self.layout.num_tokens - position).min(tokens.len() as u64);
            self.read(position, &mut tokens[..here as usize], vocab_size)?;
            position += here;
        }
        Ok(())
    }
}

fn cannot_open(path: &Path, error: std::io::Error) -> Error {
    const EMFILE: i32 = 24;
    match (error.kind(), error.raw_os_error()) {
        (ErrorKind::NotFound, _) => Error::input(format!("the token shard {} does not exist", path.display())),
        (_, Some(EMFILE)) => Error::from(error).context(format!("opening {}", path.display())).hint("`ulimit -n 4096` allows more files"),
        _ => Error::from(error).context(format!("opening {}", path.display())),
    }
}
