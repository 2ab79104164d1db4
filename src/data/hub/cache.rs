//! The cache of one repository, laid out as huggingface_hub does, so that each finds what the other fetched:
//!
//! ```text
//! <cache>/datasets--owner--name/blobs/<hash>               the content
//! <cache>/datasets--owner--name/snapshots/<commit>/<name>  links to it
//! <cache>/datasets--owner--name/refs/<revision>            the commit that a branch or tag was
//! <cache>/.locks/datasets--owner--name/<hash>.lock
//! ```

use super::names::{check_file_name, is_commit};
use super::{Environment, Request};
use crate::storage::{EntryKind, FileSystem, create_dir_durably, read_capped, write_atomically};
use crate::{Context, Error, Result};
use std::path::{Path, PathBuf};

/// Bytes of a file that holds one commit.
const MAX_REF_BYTES: u64 = 1024;
/// Bytes of a list of files.
const MAX_SELECTION_BYTES: u64 = 64 << 20;

/// The cache of one repository.
pub(super) struct Cache<'a> {
    pub(super) fs: &'a dyn FileSystem,
    root: &'a Path,
    folder: String,
    commits: hf_hub::CacheRepo,
}

impl<'a> Cache<'a> {
    pub(super) fn new(environment: &'a Environment, request: &Request) -> Self {
        let (root, repository) = (environment.cache_dir.as_path(), request.repository());
        let (folder, commits) = (repository.folder_name(), hf_hub::Cache::new(root.to_owned()).repo(repository));
        Self { fs: environment.file_system.as_ref(), root, folder, commits }
    }

    fn repository_dir(&self) -> PathBuf {
        self.root.join(&self.folder)
    }

    /// Where content lies under its hash.
    pub(super) fn blob(&self, hash: &str) -> PathBuf {
        self.repository_dir().join("blobs").join(hash)
    }

    /// Where content grows until it is whole.
    pub(super) fn incomplete(&self, hash: &str) -> PathBuf {
        self.repository_dir().join("blobs").join(format!("{hash}.incomplete"))
    }

    pub(super) fn lock(&self, name: &str) -> PathBuf {
        self.root.join(".locks").join(&self.folder).join(format!("{name}.lock"))
    }

    /// Where a file of a commit is found by its name.
    pub(super) fn snapshot(&self, commit: &str, name: &str) -> PathBuf {
        self.commits.pointer_path(commit).join(name)
    }

    /// Whether a file of a commit is there with all its bytes. Links are followed.
    pub(super) fn has_file(&self, commit: &str, name: &str, size: u64) -> bool {
        has_size(&self.snapshot(commit, name), size)
    }

    /// Whether content is there under its hash. Links are followed: huggingface_hub may share blobs between caches.
    pub(super) fn has_blob(&self, hash: &str, size: u64) -> bool {
        has_size(&self.blob(hash), size)
    }

    /// Bytes of a file that a download which did not end has left.
    pub(super) fn incomplete_size(&self, hash: &str) -> u64 {
        std::fs::metadata(self.incomplete(hash)).map_or(0, |metadata| metadata.len())
    }

    /// The commit that `revision` was when it was last asked for.
    pub(super) fn commit_of(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = read_capped(self.fs, &self.ref_path(revision), MAX_REF_BYTES).ok()?;
        let commit = String::from_utf8_lossy(&text).trim().to_owned();
        is_commit(&commit).then_some(commit)
    }

    fn ref_path(&self, revision: &str) -> PathBuf {
        self.repository_dir().join("refs").join(revision)
    }

    /// Notes the commit of a branch or tag. Only under the lock of the repository.
    pub(super) fn write_ref(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit || self.commit_of(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        self.write(&self.ref_path(revision), commit.as_bytes())
    }

    /// Names and sizes of the files of a commit that are there, whoever fetched them.
    pub(super) fn files(&self, commit: &str) -> Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        let top = self.commits.pointer_path(commit);
        if top.is_dir() {
            self.walk(&top, "", &mut files).context(|| format!("listing {}", top.display()))?;
        }
        Ok(files)
    }

    fn walk(&self, dir: &Path, prefix: &str, files: &mut Vec<(String, u64)>) -> Result<()> {
        for entry in self.fs.list(dir)? {
            let (path, name) = (dir.join(&entry.name), format!("{prefix}{}", entry.name));
            if entry.kind == EntryKind::Directory {
                self.walk(&path, &format!("{name}/"), files)?;
            } else if let Ok(metadata) = std::fs::metadata(&path) {
                files.push((name, metadata.len())); // A link that leads nowhere is no file.
            }
        }
        Ok(())
    }

    /// Gives content its name in a commit. Only under the lock of the content.
    pub(super) fn link(&self, commit: &str, name: &str, hash: &str) -> Result<()> {
        check_file_name(name)?;
        let path = self.snapshot(commit, name);
        let dir = path.parent().unwrap_or(&path);
        create_dir_durably(self.fs, dir)?;
        // From snapshots/<commit>/<name> up to the repository, so that the cache can be moved as a whole.
        let up = "../".repeat(2 + name.matches('/').count());
        let target = format!("{up}blobs/{hash}");
        // Put in place as a whole: a reader of the name finds what was there or what is there now.
        let beside = dir.join(format!(".{hash}.linking"));
        let _ = self.fs.remove_file(&beside); // of a process that was killed
        let linked = link(&target, &self.blob(hash), &beside).and_then(|()| self.fs.rename(&beside, &path));
        linked.context(|| format!("linking {}", path.display()))?;
        self.fs.sync_dir(dir).context(|| format!("syncing {}", dir.display()))
    }

    /// The files that patterns meant in a commit, as noted by [`Self::write_selection`].
    pub(super) fn selection(&self, commit: &str, request: &Request) -> Option<Vec<(String, u64)>> {
        let text = read_capped(self.fs, &self.selection_path(commit, request), MAX_SELECTION_BYTES).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Notes which files, by name and size, patterns meant in a commit, so that without a network a part is not taken for the whole. Only under the lock of
    /// the repository.
    pub(super) fn write_selection(&self, commit: &str, request: &Request, files: &[(&str, u64)]) -> Result<()> {
        let path = self.selection_path(commit, request);
        if path.exists() {
            return Ok(()); // A commit does not change.
        }
        self.write(&path, &serde_json::to_vec(files).map_err(Error::from)?)
    }

    fn selection_path(&self, commit: &str, request: &Request) -> PathBuf {
        let key = crate::storage::content_hash(request.files.join("\n").as_bytes());
        self.repository_dir().join(".selections").join(format!("{commit}-{}.json", &key[..16]))
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<()> {
        create_dir_durably(self.fs, path.parent().unwrap_or(path))?;
        write_atomically(self.fs, path, content)
    }
}

fn has_size(path: &Path, size: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
}

#[cfg(unix)]
fn link(target: &str, _blob: &Path, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

/// Links need a privilege elsewhere, so huggingface_hub copies too.
#[cfg(not(unix))]
fn link(_target: &str, blob: &Path, path: &Path) -> std::io::Result<()> {
    std::fs::copy(blob, path).map(|_| ())
}
