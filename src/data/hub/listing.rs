//! What a repository holds at a commit, page by page. hf-hub could list it too, but its version 1.0.0 takes the token to whatever host
//! is named as that of the next page, drops the SHA-256 of large files, and does not say how long a busy server wants to be left alone.

use super::client::FileClient;
use super::patience::retry;
use super::{Content, Environment, Request};
use crate::{Error, Result};
use serde::Deserialize;

/// Entries that a listing may have; more is not a repository but an attack on memory.
const MAX_ENTRIES: usize = 2_000_000;

/// A file as a repository lists it.
pub(super) struct ListedFile {
    /// Its path in the repository; not checked yet.
    pub(super) name: String,
    /// Bytes.
    pub(super) size: u64,
    /// What the bytes have to be; none if the server does not say.
    pub(super) content: Option<Content>,
}

/// A line of a page, as the server writes it.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    oid: Option<String>,
    lfs: Option<LargeFile>,
}

/// A file that is not in git, where a pointer stands for it.
#[derive(Deserialize)]
struct LargeFile {
    oid: String,
    size: u64,
}

/// The files of a commit in `dir`, and in the directories below it; none if there is no such directory.
pub(super) fn list(
    client: &FileClient,
    environment: &Environment,
    request: &Request,
    commit: &str,
    stop: &dyn Fn() -> bool,
    dir: &str,
) -> Result<Vec<ListedFile>> {
    let (wanted, mut files) = (request.to_string(), Vec::new());
    let mut next = Some(client.listing_address(request, commit, dir)?);
    while let Some(url) = next {
        let page = retry(&environment.patience, stop, || client.page::<Vec<Entry>>(&wanted, &url))?;
        let (entries, after) = page.unwrap_or_default();
        if files.len() + entries.len() > MAX_ENTRIES {
            return Err(Error::input(format!("{request}: more than {MAX_ENTRIES} files")).hint("name a directory in the patterns"));
        }
        files.extend(entries.into_iter().filter(|entry| entry.kind == "file").map(listed));
        // A page that leads to itself would never end.
        next = after.filter(|after| *after != url);
    }
    Ok(files)
}

fn listed(entry: Entry) -> ListedFile {
    let is_sha256 = |content: &Content| matches!(content, Content::Sha256(_));
    let (size, content) = match entry.lfs {
        Some(large) => (large.size, Content::from_hash(&large.oid).filter(is_sha256)),
        None => (entry.size, entry.oid.as_deref().and_then(Content::from_hash).filter(|content| !is_sha256(content))),
    };
    ListedFile { name: entry.path, size, content }
}
