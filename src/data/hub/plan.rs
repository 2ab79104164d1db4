//! What a request comes to, before a byte of a file is fetched: which files, how large, which of them are here already.

use super::cache::Cache;
use super::client::FileClient;
use super::listing::{ListedFile, list};
use super::names::{check_file_name, check_repository, check_revision};
use super::revision::Resolver;
use super::select::{Patterns, common_dir};
use super::{Content, Environment, Request};
use crate::{Error, Result};
use std::path::PathBuf;

/// What a request comes to.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What was asked for.
    pub request: Request,
    /// The commit that the revision is: the same files whenever it is asked for.
    pub commit: String,
    /// The files, by name.
    pub files: Vec<PlannedFile>,
}

/// A file of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    /// Its path in the repository.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// What the bytes have to be; none offline, where nobody says.
    pub content: Option<Content>,
    /// Whether all its bytes are here.
    pub is_cached: bool,
    /// Bytes of it that an earlier download has left.
    pub num_partial_bytes: u64,
    /// Where it is, or will be.
    pub path: PathBuf,
}

impl Plan {
    /// Bytes that have to be fetched.
    pub fn num_missing_bytes(&self) -> u64 {
        self.files.iter().map(PlannedFile::num_missing_bytes).sum()
    }
}

impl PlannedFile {
    /// Bytes that have to be fetched.
    pub fn num_missing_bytes(&self) -> u64 {
        if self.is_cached { 0 } else { self.size - self.num_partial_bytes.min(self.size) }
    }
}

/// What `request` comes to, without fetching a file.
///
/// # Errors
/// The user's: names that cannot be, patterns that match nothing, a repository that is not there or not theirs to read, and offline what
/// is not in the cache. Ours: a server that cannot be reached, or does not answer as a Hub does.
pub fn plan(request: &Request, environment: &Environment, stop: &dyn Fn() -> bool) -> Result<Plan> {
    check_repository(&request.repository)?;
    check_revision(&request.revision)?;
    let patterns = Patterns::new(request)?;
    let cache = Cache::new(environment, request);
    if environment.is_offline {
        return offline(request, &patterns, &cache, environment);
    }
    let commit = Resolver::new(environment, stop)?.commit(request)?;
    let client = FileClient::new(environment)?;
    let listed = list(&client, environment, request, &commit, stop, &common_dir(&request.files))?;
    let listed = patterns.select(request, listed, |file| file.name.as_str())?;
    let files = listed.into_iter().map(|file| planned(request, &cache, &commit, file)).collect::<Result<_>>()?;
    Ok(Plan { request: request.clone(), commit, files })
}

fn planned(request: &Request, cache: &Cache<'_>, commit: &str, listed: ListedFile) -> Result<PlannedFile> {
    let ListedFile { name, size, content } = listed;
    check_file_name(&name)?;
    let content = content
        .ok_or_else(|| Error::ours(format!("{name} of {request}: the server gives no hash to verify it by")).hint("check HF_ENDPOINT"))?;
    let is_cached = cache.has_file(commit, &name, size) || cache.has_blob(content.hash(), size);
    let num_partial_bytes = if is_cached { 0 } else { cache.incomplete_size(content.hash()) };
    let path = cache.snapshot(commit, &name);
    Ok(PlannedFile { name, size, content: Some(content), is_cached, num_partial_bytes, path })
}

/// The plan of what the cache holds.
fn offline(request: &Request, patterns: &Patterns, cache: &Cache<'_>, environment: &Environment) -> Result<Plan> {
    let missing = |what: String| {
        let dir = environment.cache_dir.display();
        Error::input(format!("{request}: {what} not in the cache {dir}, and HF_HUB_OFFLINE is set"))
            .hint("unset HF_HUB_OFFLINE to fetch it")
    };
    let commit = cache.commit_of(&request.revision).ok_or_else(|| missing("it is".to_owned()))?;
    let there = cache.files(&commit)?;
    let wanted = cache.selection(&commit, request).unwrap_or_default();
    let is_missing = |(name, size): &&(String, u64)| !cache.has_file(&commit, name, *size);
    if let Some((name, _)) = wanted.iter().find(is_missing) {
        return Err(missing(format!("{name} is")));
    }
    if let Some(pattern) = patterns.without_match(&there, |(name, _)| name) {
        return Err(missing(format!("{pattern:?} is")));
    }
    let there = patterns.select(request, there, |(name, _)| name)?;
    let file = |(name, size): (String, u64)| {
        let path = cache.snapshot(&commit, &name);
        PlannedFile { name, size, content: None, is_cached: true, num_partial_bytes: 0, path }
    };
    Ok(Plan { request: request.clone(), files: there.into_iter().map(file).collect(), commit })
}
