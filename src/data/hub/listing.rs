//! What a repository holds at a commit, page by page. How much of that is taken has a limit in every direction: a server decides what it
//! sends, and not how long it is listened to.

use super::client::{Client, Page};
use super::retry::{Attempts, retry};
use super::{Content, Patience, Request};
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::Number;
use std::collections::HashSet;

/// Entries that a listing may have, directories among them; more is not a repository but an attack on memory.
const MAX_ENTRIES: usize = 2_000_000;
/// Pages that it may have: the Hub puts a thousand entries on each.
const MAX_PAGES: usize = 10_000;
/// Pages without an entry; the Hub has none.
const MAX_EMPTY_PAGES: usize = 10;
/// Bytes of all pages.
const MAX_BYTES: u64 = 1 << 30;

/// A file as a repository lists it.
pub(super) struct ListedFile {
    /// Its path in the repository; not checked yet.
    pub(super) name: String,
    /// Bytes, as the server writes them; not checked yet.
    pub(super) size: Number,
    /// What the bytes have to be; none if the server does not say.
    pub(super) content: Option<Content>,
}

/// A line of a page, as the server writes it.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default = "zero")]
    size: Number,
    oid: Option<String>,
    lfs: Option<LargeFile>,
}

/// A file that is not in git, where a pointer stands for it.
#[derive(Deserialize)]
struct LargeFile {
    oid: String,
    size: Number,
}

fn zero() -> Number {
    0.into()
}

/// What was taken so far.
#[derive(Default)]
struct Taken {
    num_pages: usize,
    num_empty_pages: usize,
    num_entries: usize,
    num_bytes: u64,
}

impl Taken {
    /// Counts a page in; what is too much of it, if anything is.
    fn add(&mut self, page: &Page<Vec<Entry>>) -> Option<String> {
        self.num_pages += 1;
        self.num_empty_pages += usize::from(page.content.is_empty());
        self.num_entries += page.content.len();
        self.num_bytes += page.num_bytes;
        let is_over = |taken: usize, limit: usize, what: &str| (taken > limit).then(|| format!("more than {limit} {what}"));
        let is_long = || (self.num_bytes > MAX_BYTES).then(|| format!("more than {MAX_BYTES} bytes"));
        is_over(self.num_entries, MAX_ENTRIES, "files")
            .or_else(|| is_over(self.num_pages, MAX_PAGES, "pages"))
            .or_else(|| is_over(self.num_empty_pages, MAX_EMPTY_PAGES, "pages without a file"))
            .or_else(is_long)
    }
}

/// The files of a commit in `dir`, and in the directories below it; none if there is no such directory.
///
/// # Errors
/// Those of a server that does not answer, or lists more than any repository has, or never ends.
pub(super) fn list(
    client: &Client<'_>,
    patience: &Patience,
    request: &Request,
    commit: &str,
    stop: &dyn Fn() -> bool,
    dir: &str,
) -> Result<Vec<ListedFile>> {
    let (wanted, mut files, mut taken, mut asked) = (request.to_string(), Vec::new(), Taken::default(), HashSet::new());
    let mut next = Some(client.listing_address(request, commit, dir)?);
    while let Some(address) = next {
        if !asked.insert(address.uri().to_string()) {
            return Err(Error::ours(format!("{request}: the pages of its listing lead in a circle")).hint("check HF_ENDPOINT"));
        }
        let attempts = Attempts::new(patience, stop);
        let Some(page) = retry(attempts, || client.page::<Vec<Entry>>(&wanted, &address))? else { break };
        if let Some(excess) = taken.add(&page) {
            let hint = "name a directory in the patterns; if it stays so, check HF_ENDPOINT";
            return Err(Error::input(format!("{request}: its listing has {excess}")).hint(hint));
        }
        files.extend(page.content.into_iter().filter(|entry| entry.kind == "file").map(listed));
        next = page.next;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pages like this one are taken, and why no more.
    fn num_taken(num_entries: usize, num_bytes: u64) -> (usize, String) {
        let entry = || Entry { kind: "directory".into(), path: "a".into(), size: zero(), oid: None, lfs: None };
        let page = Page { content: (0..num_entries).map(|_| entry()).collect(), num_bytes, next: None };
        let mut taken = Taken::default();
        (0..).find_map(|num| taken.add(&page).map(|excess| (num, excess))).unwrap()
    }

    #[test]
    fn pages_entries_and_bytes_have_a_limit_each() {
        assert_eq!(num_taken(0, 2), (MAX_EMPTY_PAGES, "more than 10 pages without a file".into()));
        assert_eq!(num_taken(1, 2), (MAX_PAGES, "more than 10000 pages".into()));
        assert_eq!(num_taken(1000, 2), (MAX_ENTRIES / 1000, "more than 2000000 files".into()));
        assert_eq!(num_taken(1, 1 << 24).0, 64);
    }
}
