//! One file from a server into the cache: asked for from where it broke off, verified, and only then named.

use super::address::Address;
use super::cache::Cache;
use super::client::{Answer, Client};
use super::failure::{Attempt, Failure};
use super::partial::Partial;
use super::patience::stopped;
use super::retry::Attempts;
use super::{Content, Patience, PlannedFile, Request};
use crate::storage::create_dir_durably;
use crate::{Error, Result};
use std::io::{ErrorKind, Read};
use ureq::http::StatusCode;
use ureq::http::header::CONTENT_RANGE;

const BUFFER_BYTES: usize = 1 << 16;
/// Bytes after which earlier failures do not count any more: a bad line is not a broken one.
const NUM_BYTES_GOT_ON: u64 = 8 << 20;

/// What every file of a fetch is downloaded with.
pub(super) struct Downloader<'a> {
    pub(super) request: &'a Request,
    pub(super) commit: &'a str,
    pub(super) cache: &'a Cache<'a>,
    pub(super) client: &'a Client<'a>,
    pub(super) patience: &'a Patience,
    pub(super) stop: &'a dyn Fn() -> bool,
}

impl Downloader<'_> {
    /// Fetches the content of `file`; `progress` is told how many bytes of it are there. Only under the lock of the content.
    pub(super) fn download(&self, file: &PlannedFile, content: &Content, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let wanted = format!("{} of {}", file.name, self.request);
        let address = self.client.file_address(self.request, self.commit, &file.name)?;
        let blob = self.cache.blob(content.hash());
        create_dir_durably(self.cache.fs, blob.parent().unwrap_or(&blob))?;
        loop {
            let partial = Partial::open(self.cache.fs, self.cache.incomplete(content.hash()), file.size, content)?;
            let (partial, was_continued) = self.complete(&wanted, &address, partial, progress)?;
            match partial.finish(&blob)? {
                Ok(()) => return Ok(()),
                Err(_) if was_continued => progress(0), // The earlier part may be what was wrong.
                Err(hash) => return Err(wrong_content(&wanted, content, &hash)),
            }
        }
    }

    /// Fetches what is missing; whether bytes of an earlier download are in the result.
    fn complete<'p>(
        &self,
        wanted: &str,
        address: &Address,
        mut partial: Partial<'p>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Partial<'p>, bool)> {
        let mut attempts = Attempts::new(self.patience, self.stop);
        progress(partial.len());
        while !partial.is_complete() {
            let before = partial.len();
            let failure = self.fetch_rest(wanted, address, &mut partial, progress);
            if partial.len() >= before + NUM_BYTES_GOT_ON {
                attempts.got_on();
            }
            match failure {
                Ok(()) => {}
                Err(Failure::Final(error)) if partial.is_overlong() => {
                    partial.discard();
                    return Err(error);
                }
                Err(failure) => attempts.wait_after(failure)?,
            }
        }
        let was_continued = partial.is_continued();
        Ok((partial, was_continued))
    }

    fn fetch_rest(&self, wanted: &str, address: &Address, partial: &mut Partial<'_>, progress: &mut dyn FnMut(u64)) -> Attempt<()> {
        if (self.stop)() {
            return Err(Failure::Final(stopped()));
        }
        let answer = self.client.open(wanted, address, partial.len())?;
        if !continues(&answer, partial.len()) {
            partial.start_over().map_err(Failure::Final)?;
            progress(0);
            if answer.status() != StatusCode::OK {
                return Err(Failure::passing(Error::ours(format!("{wanted}: the server does not go on where it stopped"))));
            }
        }
        let (final_address, mut buffer) = (answer.address().clone(), vec![0; BUFFER_BYTES]);
        let mut body = answer.into_body();
        loop {
            if (self.stop)() {
                return Err(Failure::Final(stopped()));
            }
            match body.read(&mut buffer) {
                Ok(0) if partial.is_complete() => return Ok(()),
                Ok(0) => return Err(cut_short(wanted, partial.len())),
                Ok(num_read) => partial.write(&buffer[..num_read]).map_err(|error| Failure::Final(error.context(wanted)))?,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.client.broke_off(wanted, &final_address, error)),
            }
            progress(partial.len());
        }
    }
}

/// Whether an answer begins at the byte `start`: one that ignores the range begins at the first.
fn continues(answer: &Answer, start: u64) -> bool {
    match answer.status() {
        StatusCode::PARTIAL_CONTENT => {
            answer.header(CONTENT_RANGE.as_str()).is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
        }
        StatusCode::OK => start == 0,
        _ => false,
    }
}

fn cut_short(wanted: &str, len: u64) -> Failure {
    let error = Error::ours(format!("{wanted}: the server's answer ends after {len} bytes, before the end of the file"));
    Failure::passing(error.hint("run it again: it goes on where it stopped"))
}

fn wrong_content(wanted: &str, content: &Content, hash: &str) -> Error {
    let name = match content {
        Content::Sha256(_) => "SHA-256",
        Content::GitBlob(_) => "git object",
    };
    let message = format!("{wanted}: what the server sent is not what it lists: {name} {hash} instead of {}; removed", content.hash());
    Error::ours(message).hint("run it again; if it stays so, check HF_ENDPOINT and proxies")
}
