//! A prepared directory: the shards of a corpus, its tokenizer, and the manifest `prepared.json` that is written last. Owns the manifest
//! and what of the directory is checked before it is used; `prepare` makes it.

use super::documents::{Skipped, Sources};
use super::shards::{PREPARE_AGAIN, ShardRecord, TokenShards};
use crate::config::HeldOut;
use crate::storage::{DISK, FileSystem, content_hash, read_capped, write_atomically};
use crate::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The version that this program writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;
pub(super) const MANIFEST: &str = "prepared.json";
pub(super) const TOKENIZER: &str = "tokenizer.json";
/// Longer files are refused: a manifest lists its files, a tokenizer its vocabulary.
const MAX_BYTES: u64 = 256 << 20;

/// Which documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Documents that a model is trained with.
    Train,
    /// Documents that are held out.
    Validation,
}

impl Split {
    /// As its files are named.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
        }
    }
}

/// The content of `prepared.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the layout.
    pub format: u32,
    /// Hash of all settings, the tokenizer's included, that decide what the shards hold.
    pub settings_hash: String,
    /// The files that the documents were read from.
    pub sources: Sources,
    /// What was held out of them; none in directories that were prepared before this was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
    /// The tokenizer beside the manifest.
    pub tokenizer: TokenizerRecord,
    /// Records that were passed over.
    pub skipped: Skipped,
    /// What a model is trained with.
    pub train: SplitRecord,
    /// What is held out.
    pub validation: SplitRecord,
}

/// What the manifest says of the tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerRecord {
    /// Hash of `tokenizer.json`.
    pub blake3: String,
    /// Number of ids.
    pub vocab_size: usize,
}

/// What the manifest says of a split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitRecord {
    /// Documents, or parts of documents.
    pub documents: u64,
    /// Tokens, those that begin and end documents included.
    pub tokens: u64,
    /// Bytes of the text.
    pub text_bytes: u64,
    /// The files, in the order of their tokens.
    pub shards: Vec<ShardRecord>,
}

/// A prepared directory whose manifest was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    dir: PathBuf,
    manifest: Manifest,
}

impl Prepared {
    /// Opens the prepared directory `dir`: its manifest, and whether every file that it lists is there and as long as it was.
    ///
    /// # Errors
    /// No manifest, one of a newer version or with a key it should not have, a file that is missing, cut short or exchanged.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_on(&DISK, dir)
    }

    pub(super) fn open_on(fs: &dyn FileSystem, dir: &Path) -> Result<Self> {
        let prepared = Self { dir: dir.to_owned(), manifest: Manifest::read(fs, dir)? };
        prepared.check_files(fs)?;
        Ok(prepared)
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What its manifest says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What its manifest says of a split.
    pub fn split(&self, split: Split) -> &SplitRecord {
        match split {
            Split::Train => &self.manifest.train,
            Split::Validation => &self.manifest.validation,
        }
    }

    /// Where its tokenizer is.
    pub fn tokenizer_path(&self) -> PathBuf {
        self.dir.join(TOKENIZER)
    }

    /// The shards of both splits.
    pub(super) fn all_shards(&self) -> impl Iterator<Item = &ShardRecord> {
        self.manifest.train.shards.iter().chain(&self.manifest.validation.shards)
    }

    /// Bytes of all shards.
    pub fn num_bytes(&self) -> u64 {
        self.all_shards().map(|shard| shard.bytes).sum()
    }

    /// The tokens of a split.
    pub fn shards(&self, split: Split) -> Result<TokenShards> {
        TokenShards::of_records(&self.dir, &self.split(split).shards, self.manifest.tokenizer.vocab_size)
    }

    /// A hash of everything that decides what is read from it: tokens, their order, the tokenizer. Not of where the text came from.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("bitnet 2026: fingerprint of a prepared directory");
        let tokenizer = &self.manifest.tokenizer;
        hasher.update(format!("tokenizer {} {}\n", tokenizer.blake3, tokenizer.vocab_size).as_bytes());
        for split in [Split::Train, Split::Validation] {
            for shard in &self.split(split).shards {
                hasher.update(format!("{} {} {}\n", split.name(), shard.tokens, shard.blake3).as_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    fn check_files(&self, fs: &dyn FileSystem) -> Result<()> {
        for shard in self.all_shards() {
            let path = self.dir.join(&shard.file);
            let found = fs.metadata(&path).map_err(|error| absent(&path, error))?.len;
            if found != shard.bytes {
                let message = format!("{} has {found} bytes instead of {}", path.display(), shard.bytes);
                return Err(Error::input(message).hint(PREPARE_AGAIN));
            }
        }
        let path = self.tokenizer_path();
        fs.metadata(&path).map_err(|error| absent(&path, error))?;
        if content_hash(&read_capped(fs, &path, MAX_BYTES)?) != self.manifest.tokenizer.blake3 {
            let message = format!("{} is not the tokenizer that the data was prepared with", path.display());
            return Err(Error::input(message).hint(PREPARE_AGAIN));
        }
        Ok(())
    }
}

impl TokenShards {
    /// The tokens of a split of the prepared directory `prepared_dir`.
    ///
    /// # Errors
    /// Those of [`Prepared::open`] and [`TokenShards::of_records`].
    pub fn open(prepared_dir: &Path, split: Split) -> Result<Self> {
        Prepared::open(prepared_dir)?.shards(split)
    }
}

fn absent(path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::input(format!("{} does not exist", path.display())).hint(PREPARE_AGAIN),
        _ => Error::from(error).context(format!("looking at {}", path.display())),
    }
}

impl Manifest {
    /// Reads the manifest in `dir`; the files that it lists are not looked at.
    pub(super) fn read(fs: &dyn FileSystem, dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        if !fs.exists(&path).context(|| format!("looking at {}", path.display()))? {
            let message = format!("{} holds no prepared data: there is no {MANIFEST}", dir.display());
            return Err(Error::input(message).hint("prepare-data makes it; it takes up where it was stopped"));
        }
        let content = read_capped(fs, &path, MAX_BYTES)?;
        let refused = |what: String| Error::input(format!("{}: {what}", path.display()));
        check_format(&content).map_err(refused)?;
        let manifest: Self = serde_json::from_slice(&content).map_err(|error| refused(error.to_string()).hint(PREPARE_AGAIN))?;
        for shard in manifest.train.shards.iter().chain(&manifest.validation.shards) {
            if Path::new(&shard.file).file_name() != Some(shard.file.as_ref()) {
                return Err(refused(format!("{:?} does not name a file beside it", shard.file)));
            }
        }
        Ok(manifest)
    }

    /// Writes it whole or not at all, and durably.
    pub(super) fn write(&self, fs: &dyn FileSystem, dir: &Path) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        write_atomically(fs, &dir.join(MANIFEST), &text)
    }
}

fn check_format(content: &[u8]) -> std::result::Result<(), String> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    match serde_json::from_slice::<Version>(content) {
        Ok(Version { format: FORMAT }) => Ok(()),
        Ok(Version { format }) => Err(format!("its format is {format}, and this program reads {FORMAT}")),
        Err(error) => Err(error.to_string()),
    }
}
