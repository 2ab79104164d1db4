//! Which files a corpus consists of, and what kind each is by its name. Nothing of a file is read here.

use crate::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// So deep may directories lie in each other.
const MAX_DEPTH: usize = 16;

/// The files of a corpus, in the order in which they are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sources(Vec<SourceFile>);

/// A file as it was found. Another length or time means that it was changed since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub modified: u64,
}

/// What a file is by its ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub format: Format,
    pub compression: Compression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Json,
    JsonLines,
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstandard,
}

impl Sources {
    /// The files that `paths` name, in their order. A directory stands for all its files and those of its directories, in the order of
    /// their names; those whose names begin with a dot are left out.
    ///
    /// # Errors
    /// A path that is not there, an empty file, an ending that is not known or that this build cannot read, a corpus without a file.
    pub fn find(paths: &[PathBuf]) -> Result<Self> {
        let mut found = Vec::new();
        paths.iter().try_for_each(|path| add(path, 0, &mut found))?;
        if found.is_empty() {
            let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            return Err(Error::input(format!("there are no files in {:?}", names.join(", "))).hint(KNOWN_ENDINGS));
        }
        Ok(Self(found))
    }

    /// The files.
    pub fn files(&self) -> &[SourceFile] {
        &self.0
    }

    /// Bytes of all files, as they lie on the disk.
    pub fn num_bytes(&self) -> u64 {
        self.0.iter().map(|file| file.bytes).sum()
    }
}

fn add(path: &Path, depth: usize, found: &mut Vec<SourceFile>) -> Result<()> {
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::input(format!("{} does not exist", path.display())).hint("--data FILE names the files of text"),
        _ => Error::from(error).context(format!("looking at {}", path.display())),
    })?;
    if metadata.is_dir() {
        return add_directory(path, depth, found);
    }
    kind_of(path)?;
    if !metadata.is_file() {
        return Err(Error::input(format!("{} is neither a file nor a directory", path.display())));
    }
    if metadata.len() == 0 {
        return Err(empty(path));
    }
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.and_then(|time| u64::try_from(time.as_nanos()).ok()).unwrap_or(0);
    found.push(SourceFile { path: path.to_owned(), bytes: metadata.len(), modified });
    Ok(())
}

fn add_directory(path: &Path, depth: usize, found: &mut Vec<SourceFile>) -> Result<()> {
    if depth == MAX_DEPTH {
        return Err(Error::input(format!("{} lies {MAX_DEPTH} directories deep", path.display())).hint("is there a link to itself?"));
    }
    let listing = || format!("listing {}", path.display());
    let entries: Vec<_> = fs::read_dir(path).context(listing)?.collect::<std::io::Result<_>>().context(listing)?;
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.file_name()).collect();
    names.retain(|name| !name.to_string_lossy().starts_with('.'));
    names.sort();
    names.into_iter().try_for_each(|name| add(&path.join(name), depth + 1, found))
}

/// The error for a file in which there is nothing.
pub(super) fn empty(path: &Path) -> Error {
    Error::input(format!("{} is empty", path.display())).hint("fetch it again, or leave it out")
}

const KNOWN_ENDINGS: &str = "known are .txt .json .jsonl, each also with .gz or .zst behind it, and .parquet";

/// What the file is by its name.
pub(super) fn kind_of(path: &Path) -> Result<Kind> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let (name, compression) = match (name.strip_suffix(".gz"), name.strip_suffix(".zst")) {
        (Some(name), _) => (name, Compression::Gzip),
        (_, Some(name)) => (name, Compression::Zstandard),
        _ => (&*name, Compression::None),
    };
    let format = match (name.rsplit_once('.').map(|(_, ending)| ending), compression) {
        (Some("txt"), _) => Format::Text,
        (Some("json"), _) => Format::Json,
        (Some("jsonl"), _) => Format::JsonLines,
        (Some("parquet"), Compression::None) => Format::Parquet,
        (Some("parquet"), _) => {
            let message = format!("{}: a .parquet is compressed inside", path.display());
            return Err(Error::input(message).hint("decompress it once, and name the .parquet"));
        }
        _ => return Err(Error::input(format!("the ending of {} is not known", path.display())).hint(KNOWN_ENDINGS)),
    };
    Ok(Kind { format, compression })
}
