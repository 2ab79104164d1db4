//! Small files whole or absent, directories that outlive a power cut, and the removal of a tree.

use super::{EntryKind, FileSystem};
use crate::{Context, Error, Result};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// How the name of a file that is being written begins.
const TEMPORARY: &str = ".tmp-";

/// Replaces the file at `path` by `content`: after a crash at any moment the old content is there or the new, never a mixture, and
/// after `Ok` it is the new. For small files: the whole is written again.
pub fn write_atomically(fs: &dyn FileSystem, path: &Path, content: &[u8]) -> Result<()> {
    let temporary = temporary_beside(path)?;
    let outcome = replace(fs, path, &temporary, content);
    if outcome.is_err() {
        let _ = fs.remove_file(&temporary); // It may not exist; what matters is the first error.
    }
    outcome.context(|| format!("writing {}", path.display()))
}

fn replace(fs: &dyn FileSystem, path: &Path, temporary: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs.create(temporary)?;
    file.write_all(content)?;
    file.sync()?;
    drop(file);
    fs.rename(temporary, path)?;
    fs.sync_dir(parent_of(path))
}

/// The name under which the file at `path` is written.
pub(super) fn temporary_beside(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| Error::ours(format!("{} does not name a file", path.display())))?;
    Ok(path.with_file_name(format!("{TEMPORARY}{}-{}", name.to_string_lossy(), std::process::id())))
}

/// Removes what atomic writes that were killed have left in `dir`. Only for the one writer of the directory.
pub fn remove_temporaries(fs: &dyn FileSystem, dir: &Path) -> Result<()> {
    let entries = fs.list(dir).context(|| format!("listing {}", dir.display()))?;
    for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File && entry.name.starts_with(TEMPORARY)) {
        let path = dir.join(&entry.name);
        fs.remove_file(&path).context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

/// Makes a directory and those above it that are missing, each durable before this returns. One that is there already is fine.
pub fn create_dir_durably(fs: &dyn FileSystem, path: &Path) -> Result<()> {
    let parent = parent_of(path);
    if !fs.exists(parent).context(|| format!("looking at {}", parent.display()))? {
        create_dir_durably(fs, parent)?;
    }
    match fs.create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.context(|| format!("creating {}", path.display()))?,
    }
    fs.sync_dir(parent).context(|| format!("syncing {}", parent.display()))
}

/// The directory that holds the entry of `path`: `.` for a bare name.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

/// Removes a directory with all that is in it, or a file. A symbolic link is removed, not followed.
pub fn remove_tree(fs: &dyn FileSystem, path: &Path) -> io::Result<()> {
    if fs.metadata(path)?.kind != EntryKind::Directory {
        return fs.remove_file(path);
    }
    for entry in fs.list(path)? {
        remove_tree(fs, &path.join(entry.name))?;
    }
    fs.remove_dir(path)
}
