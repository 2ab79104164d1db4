//! Requests for files and listings. Redirects are followed here, one by one: the token goes to the Hub and to no other host, and an encrypted
//! connection never leads to a plain one.

use super::failure::{Attempt, Failure, Refusal, no_hub, transport};
use super::{Environment, Request, Token};
use crate::{Error, Result};
use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT_ENCODING, LINK, LOCATION, RANGE, RETRY_AFTER};
use reqwest::{Url, redirect};
use serde::de::DeserializeOwned;
use std::io::Read;
use std::time::Duration;

const MAX_REDIRECTS: usize = 10;
/// Bytes that a page of a listing may have; the Hub's have a thousand entries.
const MAX_PAGE_BYTES: u64 = 64 << 20;
/// What the program calls itself.
pub(super) const USER_AGENT: &str = concat!("bitnet/", env!("CARGO_PKG_VERSION"));

/// Asks a Hub for files and listings.
pub(super) struct FileClient {
    http: Client,
    endpoint: Url,
    token: Option<Token>,
    stall_timeout: Duration,
}

impl FileClient {
    /// # Errors
    /// The user's: an endpoint that is no address. Ours: TLS that cannot be set up.
    pub(super) fn new(environment: &Environment) -> Result<Self> {
        let endpoint = endpoint(environment)?;
        let patience = &environment.patience;
        let builder = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .connect_timeout(patience.connect_timeout)
            .timeout(patience.stall_timeout) // Of a blocking client: for each read, not for the whole.
            .https_only(endpoint.scheme() == "https");
        let builder = if is_loopback(&endpoint) { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|error| Error::from(error).context("setting up encrypted connections"))?;
        Ok(Self { http, endpoint, token: environment.token.clone(), stall_timeout: patience.stall_timeout })
    }

    /// The address of a file in a commit.
    pub(super) fn address(&self, request: &Request, commit: &str, name: &str) -> Result<Url> {
        let mut url = self.endpoint.clone();
        let kind = matches!(request.kind, super::Kind::Dataset).then_some("datasets");
        let mut parts = url.path_segments_mut().map_err(|()| Error::input("HF_ENDPOINT is no address"))?;
        parts.pop_if_empty().extend(kind).extend(request.repository.split('/')).push("resolve").push(commit).extend(name.split('/'));
        drop(parts);
        Ok(url)
    }

    /// The address of the first page of what a directory of a commit holds.
    pub(super) fn listing_address(&self, request: &Request, commit: &str, dir: &str) -> Result<Url> {
        let mut url = self.endpoint.clone();
        let mut parts = url.path_segments_mut().map_err(|()| Error::input("HF_ENDPOINT is no address"))?;
        parts.pop_if_empty().push("api").push(request.kind.plural()).extend(request.repository.split('/')).push("tree").push(commit);
        parts.extend(dir.split('/').filter(|part| !part.is_empty()));
        drop(parts);
        url.set_query(Some("recursive=true"));
        Ok(url)
    }

    /// A page of a listing and the address of the next one; none if there is no such page.
    pub(super) fn page<T: DeserializeOwned>(&self, wanted: &str, url: &Url) -> Attempt<Option<(T, Option<Url>)>> {
        let response = self.follow(wanted, url, None, 404)?;
        if response.status().as_u16() == 404 {
            return Ok(None);
        }
        let link = response.headers().get(LINK).and_then(|link| link.to_str().ok());
        let next = link.and_then(next_page).and_then(|next| response.url().join(next).ok());
        let mut body = Vec::new();
        let read = response.take(MAX_PAGE_BYTES).read_to_end(&mut body);
        read.map_err(|error| self.broke_off(wanted, url, &error))?;
        let page = serde_json::from_slice(&body).map_err(|_| Failure::Final(no_hub(wanted)))?;
        Ok(Some((page, next)))
    }

    /// The content of a file from the byte `start` on, if the server grants it.
    pub(super) fn open(&self, wanted: &str, url: &Url, start: u64) -> Attempt<Response> {
        self.follow(wanted, url, (start > 0).then_some(start), 416)
    }

    /// The answer at the end of all redirects: a success, or the one refusal that is `expected`.
    fn follow(&self, wanted: &str, url: &Url, start: Option<u64>, expected: u16) -> Attempt<Response> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(wanted, &url, start)?;
            let status = response.status();
            if status.is_success() || status.as_u16() == expected {
                return Ok(response);
            }
            if !status.is_redirection() {
                return Err(self.refusal(&response).into_failure(wanted, self.token.as_ref()));
            }
            url = self.target(wanted, &url, &response)?;
        }
        Err(Failure::Final(Error::ours(format!("{wanted}: the server leads from one address to the next without end"))))
    }

    fn send(&self, wanted: &str, url: &Url, start: Option<u64>) -> Attempt<Response> {
        // Ranges and sizes are of the bytes as they are.
        let mut request = self.http.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(token) = self.token.as_ref().filter(|_| url.origin() == self.endpoint.origin()) {
            request = request.bearer_auth(token.secret());
        }
        if let Some(start) = start {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        request.send().map_err(|error| transport(wanted, &shown(url), &error, self.stall_timeout))
    }

    fn target(&self, wanted: &str, url: &Url, response: &Response) -> Attempt<Url> {
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let target = location.and_then(|location| url.join(location).ok());
        let is_safe = |target: &Url| target.scheme() == "https" || target.scheme() == "http" && self.endpoint.scheme() == "http";
        target.filter(is_safe).ok_or_else(|| {
            let message = format!("{wanted}: {} leads to no address, or to one that is not encrypted", shown(url));
            Failure::Final(Error::ours(message).hint("check HF_ENDPOINT"))
        })
    }

    fn refusal(&self, response: &Response) -> Refusal {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Refusal {
            status: response.status().as_u16(),
            address: shown(response.url()),
            code: header("x-error-code"),
            message: header("x-error-message"),
            retry_after: header(RETRY_AFTER.as_str()).and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs),
        }
    }

    /// A body that ended before its time.
    pub(super) fn broke_off(&self, wanted: &str, url: &Url, error: &std::io::Error) -> Failure {
        transport(wanted, &shown(url), error, self.stall_timeout)
    }
}

/// The address in a `Link` header that is marked as the next page's.
fn next_page(link: &str) -> Option<&str> {
    let is_next = |part: &&str| part.contains("rel=\"next\"");
    link.split(',').find(is_next).and_then(|part| part.split_once('<')?.1.split_once('>')).map(|(address, _)| address)
}

/// The endpoint as an address.
///
/// # Errors
/// The user's: it is none, or one with a password.
pub(super) fn endpoint(environment: &Environment) -> Result<Url> {
    let url = Url::parse(&environment.endpoint).ok();
    let is_plain = |url: &Url| url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let is_web = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    url.filter(|url| is_plain(url) && is_web(url))
        .ok_or_else(|| Error::input("HF_ENDPOINT is no address of a Hub").hint("write https://host, without a password, or leave it out"))
}

/// A server on this machine is not reached through a proxy.
pub(super) fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."))
}

/// Host and path: the query of a content server is a signature, which is nobody's business.
pub(super) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}{}", url.host_str().unwrap_or_default(), url.path())
}
