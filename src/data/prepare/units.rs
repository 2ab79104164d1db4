//! A unit on the disk: its shards, and the record that is written after them. Owns the names of both, and what a record must keep for its
//! unit to count as done.

use super::plan::UNITS;
use super::records::{Encoded, UnitEnd, UnitRecord, UnitSplit};
use crate::data::Split;
use crate::data::shards::{ShardRecord, ShardWriter};
use crate::storage::{FileSystem, hash_reader, read_capped, write_atomically};
use crate::{Context, Result};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A record lists two files.
const MAX_RECORD_BYTES: u64 = 1 << 16;

fn record_path(dir: &Path, unit: u64) -> PathBuf {
    dir.join(UNITS).join(format!("{unit:05}.json"))
}

impl UnitRecord {
    /// The record of `unit`, if it is whole and so are its shards, to the byte.
    pub fn of_done(fs: &dyn FileSystem, dir: &Path, unit: u64) -> Result<Option<Self>> {
        let path = record_path(dir, unit);
        if !fs.exists(&path).context(|| format!("looking at {}", path.display()))? {
            return Ok(None);
        }
        let record = read_capped(fs, &path, MAX_RECORD_BYTES)?;
        let Ok(record) = serde_json::from_slice::<Self>(&record) else { return Ok(None) };
        let shards = [(Split::Train, &record.train), (Split::Validation, &record.validation)];
        let is_done = |split, part: &UnitSplit| part.shard.file == shard_name(split, unit) && is_whole(fs, dir, &part.shard);
        let are_whole = shards.into_iter().all(|(split, part)| part.as_ref().is_none_or(|part| is_done(split, part)));
        Ok(are_whole.then_some(record))
    }

    /// Tokens of both splits.
    pub fn num_tokens(&self) -> u64 {
        self.train.iter().chain(&self.validation).map(|part| part.shard.tokens).sum()
    }
}

/// What cannot be read counts as missing: it is made again.
fn is_whole(fs: &dyn FileSystem, dir: &Path, shard: &ShardRecord) -> bool {
    let content = fs.open(&dir.join(&shard.file)).and_then(|file| hash_reader(file.take(shard.bytes.saturating_add(1))));
    content.is_ok_and(|(hash, bytes)| bytes == shard.bytes && hash == shard.blake3)
}

fn shard_name(split: Split, unit: u64) -> String {
    format!("{}-{unit:05}.tokens", split.name())
}

/// A unit that is being written. Dropped, it leaves nothing.
pub(super) struct UnitWriter<'a> {
    fs: &'a dyn FileSystem,
    dir: &'a Path,
    vocab_size: usize,
    unit: u64,
    train: Option<(ShardWriter<'a>, u64)>,
    validation: Option<(ShardWriter<'a>, u64)>,
}

impl<'a> UnitWriter<'a> {
    /// Nothing is written yet.
    pub fn new(fs: &'a dyn FileSystem, dir: &'a Path, vocab_size: usize, unit: u64) -> Self {
        Self { fs, dir, vocab_size, unit, train: None, validation: None }
    }

    /// Adds documents behind those that are there.
    pub fn write(&mut self, encoded: &Encoded) -> Result<()> {
        [Split::Train, Split::Validation].into_iter().try_for_each(|split| self.write_split(split, encoded))
    }

    /// A shard is begun with its first document.
    fn write_split(&mut self, split: Split, encoded: &Encoded) -> Result<()> {
        let encoded = encoded.split(split);
        if encoded.documents.num_documents() == 0 {
            return Ok(());
        }
        let path = self.dir.join(shard_name(split, self.unit));
        let (fs, vocab_size) = (self.fs, self.vocab_size);
        let slot = match split {
            Split::Train => &mut self.train,
            Split::Validation => &mut self.validation,
        };
        let (mut writer, text_bytes) = match slot.take() {
            Some(begun) => begun,
            None => (ShardWriter::create(fs, &path, vocab_size)?, 0),
        };
        writer.write(&encoded.documents)?;
        *slot = Some((writer, text_bytes + encoded.text_bytes));
        Ok(())
    }

    /// Puts the shards in their places and then the record: from now on the unit is done.
    pub fn finish(self, end: UnitEnd) -> Result<UnitRecord> {
        let train = self.train.map(finish_split).transpose()?;
        let validation = self.validation.map(finish_split).transpose()?;
        let record = UnitRecord { end, train, validation };
        write_atomically(self.fs, &record_path(self.dir, self.unit), &serde_json::to_vec(&record)?)?;
        Ok(record)
    }
}

fn finish_split((writer, text_bytes): (ShardWriter<'_>, u64)) -> Result<UnitSplit> {
    Ok(UnitSplit { shard: writer.finish()?, text_bytes })
}
