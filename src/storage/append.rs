//! A file that grows line by line: one write call a line, so that a reader or a crash can tear the last line only.

use super::{FileSystem, StoredFile, atomic::parent_of};
use crate::{Context, Result};
use std::path::{Path, PathBuf};

/// A file that grows line by line. What was appended is durable after [`sync`](Self::sync).
pub struct AppendFile {
    file: Box<dyn StoredFile>,
    path: PathBuf,
}

impl AppendFile {
    /// Opens the file at `path` at its end, or makes it; its name is durable when this returns.
    pub fn open(fs: &dyn FileSystem, path: &Path) -> Result<Self> {
        let is_new = !fs.exists(path).context(|| format!("looking at {}", path.display()))?;
        let file = fs.append(path).context(|| format!("opening {}", path.display()))?;
        if is_new {
            fs.sync_dir(parent_of(path)).context(|| format!("syncing the directory of {}", path.display()))?;
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends `line`, which ends in a newline, in one call.
    pub fn append(&mut self, line: &[u8]) -> Result<()> {
        self.file.write_all(line).context(|| format!("writing {}", self.path.display()))
    }

    /// Puts every line so far on the medium.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync().context(|| format!("syncing {}", self.path.display()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
