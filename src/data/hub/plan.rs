//! What a request comes to, before a byte of a file is fetched: which files, how large, which of them are here already.

use super::cache::Cache;
use super::client::Client;
use super::failure::unanswered;
use super::listing::{ListedFile, list};
use super::names::{check_file_name, check_repository, check_revision};
use super::revision;
use super::select::{Patterns, common_dir};
use super::{Content, Environment, Request};
use crate::{Error, Result};
use serde_json::Number;
use std::path::PathBuf;

/// Bytes of a file, and of all files of a plan: as many as file systems can count. More is a number that no file has.
const MAX_BYTES: u64 = i64::MAX as u64;

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

/// What the cache knows of a request without anybody being asked.
#[derive(Debug, Clone)]
pub struct Known {
    /// What the request came to when it was last asked for; or the files of it that are there.
    pub plan: Plan,
    /// Whether these are all files that the request means.
    pub is_whole: bool,
}

impl Plan {
    /// Bytes of all files.
    pub fn num_bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// Bytes that have to be fetched.
    pub fn num_missing_bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.num_missing_bytes()))
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
    let (client, patience) = (Client::new(environment)?, &environment.patience);
    let commit = revision::commit(&client, patience, request, stop)?;
    let listed = list(&client, patience, request, &commit, stop, &common_dir(&request.files))?;
    let listed = patterns.select(request, listed, |file| file.name.as_str())?;
    let files = listed.into_iter().map(|file| planned(request, &cache, &commit, file)).collect::<Result<_>>()?;
    let plan = Plan { request: request.clone(), commit, files };
    if plan.num_bytes() > MAX_BYTES {
        return Err(
            Error::ours(format!("{request}: the sizes that the server lists come to more than any disk holds")).hint("check HF_ENDPOINT")
        );
    }
    Ok(plan)
}

fn planned(request: &Request, cache: &Cache<'_>, commit: &str, listed: ListedFile) -> Result<PlannedFile> {
    let ListedFile { name, size, content } = listed;
    check_file_name(&name)?;
    let size = checked_size(&name, request, &size)?;
    let content = content
        .ok_or_else(|| Error::ours(format!("{name} of {request}: the server gives no hash to verify it by")).hint("check HF_ENDPOINT"))?;
    let is_cached = cache.has_file(commit, &name, size) || cache.has_blob(content.hash(), size);
    let num_partial_bytes = if is_cached { 0 } else { cache.incomplete_size(content.hash()) };
    let path = cache.snapshot(commit, &name);
    Ok(PlannedFile { name, size, content: Some(content), is_cached, num_partial_bytes, path })
}

fn checked_size(name: &str, request: &Request, size: &Number) -> Result<u64> {
    size.as_u64().filter(|size| *size <= MAX_BYTES).ok_or_else(|| {
        Error::ours(format!("{name} of {request}: the server lists {size} bytes, which no file has")).hint("check HF_ENDPOINT")
    })
}

/// What the cache knows of `request`, without a question to anybody; none where that is nothing.
///
/// # Errors
/// The user's: names that cannot be.
pub fn plan_of_cache(request: &Request, environment: &Environment) -> Result<Option<Known>> {
    check_repository(&request.repository)?;
    check_revision(&request.revision)?;
    let (patterns, cache) = (Patterns::new(request)?, Cache::new(environment, request));
    let Some(commit) = cache.commit_of(&request.revision) else { return Ok(None) };
    let listed = cache.selection(&commit, request);
    let is_whole = listed.is_some();
    let files = match listed {
        Some(files) => files,
        None => patterns.matching(cache.files(&commit)?, |(name, _)| name),
    };
    let file = |(name, size): (String, u64)| {
        check_file_name(&name)?;
        let (path, is_cached) = (cache.snapshot(&commit, &name), cache.has_file(&commit, &name, size));
        Ok(PlannedFile { name, size, content: None, is_cached, num_partial_bytes: 0, path })
    };
    let files: Vec<_> = files.into_iter().map(file).collect::<Result<_>>()?;
    let is_known = !files.is_empty();
    Ok(is_known.then(|| Known { plan: Plan { request: request.clone(), commit, files }, is_whole }))
}

/// The plan of what the cache holds.
fn offline(request: &Request, patterns: &Patterns, cache: &Cache<'_>, environment: &Environment) -> Result<Plan> {
    let missing = |what: String| {
        let dir = environment.cache_dir.display();
        unanswered(format!("{request}: {what} not in the cache {dir}, and HF_HUB_OFFLINE is set"))
            .blame_input()
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
