//! Plans carried out: room on the disk, one content at a time, each under its lock.

use super::cache::Cache;
use super::client::Client;
use super::download::Downloader;
use super::lock::hold;
use super::patience::stopped;
use super::{Content, Environment, Plan, PlannedFile, Request, plan};
use crate::storage::create_dir_durably;
use crate::{Context, Error, Result};
use std::path::PathBuf;

/// Bytes that stay free on the disk.
const MARGIN_BYTES: u64 = 64 << 20;
/// The lock of what is not content: refs and lists.
const REPOSITORY_LOCK: &str = "repository";

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file that is being fetched.
    pub file: &'a str,
    /// Bytes of it that are here.
    pub file_bytes_done: u64,
    /// Bytes that it has.
    pub file_bytes: u64,
    /// Bytes that are here, of all files.
    pub bytes_done: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Puts the files of `request` into the cache, as far as they are not there, and gives their paths by name. `progress` is called with
/// every piece that arrives, and once for a file that is there; `stop` is asked between pieces.
///
/// # Errors
/// Those of [`plan`]; a disk that is full or too small; what a server sends when it is not what it lists. What was fetched stays, and no
/// file has its name before its content is whole, verified and on the medium.
pub fn fetch(
    request: &Request,
    environment: &Environment,
    progress: &mut dyn FnMut(Progress<'_>),
    stop: &dyn Fn() -> bool,
) -> Result<Vec<PathBuf>> {
    fetch_plan(&plan(request, environment, stop)?, environment, progress, stop)
}

/// As [`fetch`], for a plan that was made, and shown, before.
///
/// # Errors
/// As [`fetch`].
pub fn fetch_plan(
    plan: &Plan,
    environment: &Environment,
    progress: &mut dyn FnMut(Progress<'_>),
    stop: &dyn Fn() -> bool,
) -> Result<Vec<PathBuf>> {
    let cache = Cache::new(environment, &plan.request);
    if !environment.is_offline {
        check_space(plan, environment)?;
        let held = hold(&cache, REPOSITORY_LOCK, &environment.patience, stop)?;
        let files: Vec<(&str, u64)> = plan.files.iter().map(|file| (file.name.as_str(), file.size)).collect();
        cache.write_selection(&plan.commit, &plan.request, &files)?;
        cache.write_ref(&plan.request.revision, &plan.commit)?;
        drop(held);
        let client = Client::new(environment)?;
        let (request, commit, patience) = (&plan.request, plan.commit.as_str(), &environment.patience);
        let downloader = Downloader { request, commit, cache: &cache, client: &client, patience, stop };
        fetch_each(plan, &downloader, progress)?;
    }
    Ok(plan.files.iter().map(|file| file.path.clone()).collect())
}

fn fetch_each(plan: &Plan, downloader: &Downloader<'_>, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
    let bytes = plan.num_bytes();
    let mut bytes_before = 0;
    for file in &plan.files {
        if (downloader.stop)() {
            return Err(stopped());
        }
        let mut report = |file_bytes_done| {
            let (name, bytes_done) = (file.name.as_str(), bytes_before + file_bytes_done);
            progress(Progress { file: name, file_bytes_done, file_bytes: file.size, bytes_done, bytes });
        };
        if let Some(content) = &file.content {
            fetch_content(file, content, downloader, &mut report)?;
        }
        report(file.size);
        bytes_before += file.size;
    }
    Ok(())
}

/// One content, which another process may be fetching, or have fetched since the plan was made.
fn fetch_content(file: &PlannedFile, content: &Content, downloader: &Downloader<'_>, report: &mut dyn FnMut(u64)) -> Result<()> {
    let Downloader { cache, commit, patience, stop, .. } = downloader;
    if cache.has_file(commit, &file.name, file.size) {
        return Ok(()); // As it is, whoever put it there: not every tool has its blobs where a lock would be of use.
    }
    let _held = hold(cache, content.hash(), patience, *stop)?;
    if cache.has_file(commit, &file.name, file.size) {
        return Ok(()); // Another process, which held the lock before, has put it there.
    }
    if !cache.has_blob(content.hash(), file.size) {
        downloader.download(file, content, report)?;
    }
    cache.link(commit, &file.name, content.hash())
}

fn check_space(plan: &Plan, environment: &Environment) -> Result<()> {
    let missing = plan.num_missing_bytes();
    if missing == 0 {
        return Ok(());
    }
    let dir = &environment.cache_dir;
    create_dir_durably(environment.file_system.as_ref(), dir)?;
    let free = environment.file_system.free_space(dir).context(|| format!("looking at {}", dir.display()))?;
    if free >= missing.saturating_add(MARGIN_BYTES) {
        return Ok(());
    }
    let message = format!("{}: {missing} bytes to fetch, and {free} free in {}", plan.request, dir.display());
    Err(Error::input(message).hint("make room, or set HF_HOME to a directory on a larger disk"))
}
