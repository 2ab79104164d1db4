//! Requests to a Hub and to the servers that it leads to. Redirects are followed here, one by one: the token goes to the origin of the
//! Hub and to no other, and an encrypted connection never leads to a plain one. Whatever is read as a whole has a limit.

use super::address::Address;
use super::failure::{Attempt, Failure, Refusal, no_hub, transport};
use super::{Environment, Request, Token};
use crate::storage::{DISK, read_capped};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use ureq::http::StatusCode;
use ureq::http::header::{ACCEPT_ENCODING, AUTHORIZATION, LINK, LOCATION, RANGE, RETRY_AFTER};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, BodyReader, Proxy, http};

const MAX_REDIRECTS: usize = 10;
/// Bytes of what is read as a whole: a page of a listing, which on the Hub has a thousand entries, or the answer about a repository.
const MAX_ANSWER_BYTES: u64 = 16 << 20;
/// Bytes of a refusal that are looked at for what the server says to it.
const MAX_REFUSAL_BYTES: u64 = 64 << 10;
/// Bytes of the head of an answer.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Bytes of a file of certificates.
const MAX_CERTIFICATES_BYTES: u64 = 16 << 20;
/// What the program calls itself.
const USER_AGENT: &str = concat!("bitnet/", env!("CARGO_PKG_VERSION"));

/// Asks a Hub.
pub(super) struct Client<'a> {
    environment: &'a Environment,
    hub: Address,
    /// One without a proxy, then one for each proxy.
    agents: Vec<(Option<Proxy>, Agent)>,
}

/// The head of an answer, and whose it is.
pub(super) struct Answer {
    address: Address,
    response: http::Response<Body>,
}

/// A page of a listing.
pub(super) struct Page<T> {
    pub(super) content: T,
    pub(super) num_bytes: u64,
    /// The address of the next one.
    pub(super) next: Option<Address>,
}

impl<'a> Client<'a> {
    /// # Errors
    /// The user's: an endpoint that is no address, or certificates that are none.
    pub(super) fn new(environment: &'a Environment) -> Result<Self> {
        let hub = Address::of_hub(&environment.endpoint)?;
        let roots = environment.certificates.as_deref().map(certificates).transpose()?.unwrap_or(RootCerts::WebPki);
        let tls = TlsConfig::builder().root_certs(roots).build();
        let proxies = environment.proxies.all();
        let agent = |proxy: Option<Proxy>| (proxy.clone(), agent(environment, &hub, &tls, proxy));
        let agents = std::iter::once(None).chain(proxies.into_iter().map(Some)).map(agent).collect();
        Ok(Self { environment, hub, agents })
    }

    /// The address of a file in a commit.
    pub(super) fn file_address(&self, request: &Request, commit: &str, name: &str) -> Result<Address> {
        let kind = matches!(request.kind, super::Kind::Dataset).then_some("datasets");
        let parts = kind.into_iter().chain(request.repository.split('/')).chain(["resolve", commit]).chain(name.split('/'));
        self.hub.below(parts, "")
    }

    /// The address of the first page of what a directory of a commit holds.
    pub(super) fn listing_address(&self, request: &Request, commit: &str, dir: &str) -> Result<Address> {
        let parts = ["api", request.kind.plural()].into_iter().chain(request.repository.split('/')).chain(["tree", commit]);
        self.hub.below(parts.chain(dir.split('/').filter(|part| !part.is_empty())), "?recursive=true")
    }

    /// The address of what is known of a revision: no more than its commit, as the rest has a line for each file of the repository.
    pub(super) fn revision_address(&self, request: &Request) -> Result<Address> {
        let parts = ["api", request.kind.plural()].into_iter().chain(request.repository.split('/'));
        self.hub.below(parts.chain(["revision", &request.revision]), "?expand=sha")
    }

    /// A whole answer in JSON.
    pub(super) fn json<T: DeserializeOwned>(&self, wanted: &str, address: &Address) -> Attempt<T> {
        let answer = self.follow(wanted, address, None, None)?;
        Ok(self.parsed(wanted, answer)?.0)
    }

    /// A page of a listing; none if there is no such page.
    pub(super) fn page<T: DeserializeOwned>(&self, wanted: &str, address: &Address) -> Attempt<Option<Page<T>>> {
        let answer = self.follow(wanted, address, None, Some(StatusCode::NOT_FOUND))?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let next = match answer.header(LINK.as_str()).and_then(next_page) {
            Some(next) => Some(self.target(wanted, &answer.address, Some(next))?),
            None => None,
        };
        let (content, num_bytes) = self.parsed(wanted, answer)?;
        Ok(Some(Page { content, num_bytes, next }))
    }

    /// The content of a file from the byte `start` on, if the server grants it.
    pub(super) fn open(&self, wanted: &str, address: &Address, start: u64) -> Attempt<Answer> {
        self.follow(wanted, address, (start > 0).then_some(start), Some(StatusCode::RANGE_NOT_SATISFIABLE))
    }

    /// The answer at the end of all redirects: a success, or the one refusal that is `expected`.
    fn follow(&self, wanted: &str, address: &Address, start: Option<u64>, expected: Option<StatusCode>) -> Attempt<Answer> {
        let mut address = address.clone();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.send(wanted, address, start)?;
            let status = answer.status();
            if status.is_success() || Some(status) == expected {
                return Ok(answer);
            }
            if !status.is_redirection() {
                return Err(answer.into_refusal().into_failure(wanted, self.token()));
            }
            address = self.target(wanted, &answer.address, answer.header(LOCATION.as_str()))?;
        }
        Err(Failure::Final(Error::ours(format!("{wanted}: the server leads from one address to the next without end"))))
    }

    fn send(&self, wanted: &str, address: Address, start: Option<u64>) -> Attempt<Answer> {
        // Ranges and sizes are of the bytes as they are.
        let mut request = self.agent(&address).get(address.uri()).header(ACCEPT_ENCODING, "identity");
        if let Some(token) = self.token().filter(|_| address.origin() == self.hub.origin()) {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.secret()));
        }
        if let Some(start) = start {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        match request.call() {
            Ok(response) => Ok(Answer { address, response }),
            Err(error) => Err(transport(wanted, &address, &error, &self.environment.patience)),
        }
    }

    fn agent(&self, address: &Address) -> &Agent {
        let proxy = self.environment.proxies.of(address);
        let found = self.agents.iter().find(|(other, _)| other.as_ref() == proxy);
        &found.unwrap_or(&self.agents[0]).1
    }

    fn token(&self) -> Option<&Token> {
        self.environment.token.as_ref()
    }

    /// Where an answer leads.
    fn target(&self, wanted: &str, from: &Address, location: Option<&str>) -> Attempt<Address> {
        let target = location.and_then(|location| from.joined(location));
        let is_safe = |target: &Address| target.is_encrypted() || !from.is_encrypted() && !self.hub.is_encrypted();
        target.filter(is_safe).ok_or_else(|| {
            let message = format!("{wanted}: {} leads to no address, or to one that is not encrypted", from.shown());
            Failure::Final(Error::ours(message).hint("check HF_ENDPOINT"))
        })
    }

    /// What a whole answer says, and its bytes.
    fn parsed<T: DeserializeOwned>(&self, wanted: &str, answer: Answer) -> Attempt<(T, u64)> {
        let (address, mut body) = (answer.address.clone(), Vec::new());
        let read = answer.into_body().take(MAX_ANSWER_BYTES + 1).read_to_end(&mut body);
        read.map_err(|error| self.broke_off(wanted, &address, error))?;
        if body.len() as u64 > MAX_ANSWER_BYTES {
            let message = format!("{wanted}: the answer of {} has more than {MAX_ANSWER_BYTES} bytes", address.shown());
            return Err(Failure::Final(Error::ours(message).hint("check HF_ENDPOINT")));
        }
        let content = serde_json::from_slice(&body).map_err(|_| Failure::Final(no_hub(wanted)))?;
        Ok((content, body.len() as u64))
    }

    /// A body that ended before its time.
    pub(super) fn broke_off(&self, wanted: &str, address: &Address, error: std::io::Error) -> Failure {
        transport(wanted, address, &ureq::Error::from(error), &self.environment.patience)
    }
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// Who answers in the end.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn into_body(self) -> BodyReader<'static> {
        self.response.into_body().into_reader()
    }

    fn into_refusal(self) -> Refusal {
        let header = |name: &str| self.header(name).map(str::to_owned);
        let retry_after = self.header(RETRY_AFTER.as_str()).and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
        let (code, said) = (header("x-error-code"), header("x-error-message"));
        let (status, address) = (self.status().as_u16(), self.address.shown());
        let message = said.or_else(|| message_in(self.into_body()));
        Refusal { status, address, code, message, retry_after }
    }
}

/// What the body of a refusal says, as far as it is what a Hub sends.
fn message_in(body: impl Read) -> Option<String> {
    let mut text = Vec::new();
    body.take(MAX_REFUSAL_BYTES).read_to_end(&mut text).ok()?;
    let value: serde_json::Value = serde_json::from_slice(&text).ok()?;
    value.get("error")?.as_str().map(str::to_owned)
}

fn agent(environment: &Environment, hub: &Address, tls: &TlsConfig, proxy: Option<Proxy>) -> Agent {
    let patience = &environment.patience;
    let config = Agent::config_builder()
        .user_agent(USER_AGENT)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_response_header_size(MAX_HEAD_BYTES)
        .timeout_resolve(Some(patience.connect_timeout))
        .timeout_connect(Some(patience.connect_timeout))
        .timeout_per_read(Some(patience.stall_timeout))
        .timeout_per_write(Some(patience.stall_timeout))
        .https_only(hub.is_encrypted())
        .tls_config(tls.clone())
        .proxy(proxy);
    config.build().into()
}

/// Those of a file, in place of the usual ones.
fn certificates(path: &Path) -> Result<RootCerts> {
    let hint = "SSL_CERT_FILE and REQUESTS_CA_BUNDLE name a file of certificates in PEM; unset, those of Mozilla are used";
    let pem = read_capped(&DISK, path, MAX_CERTIFICATES_BYTES).map_err(|error| error.blame_input().hint(hint))?;
    let certificate = |item: std::result::Result<PemItem<'static>, ureq::Error>| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    };
    let certificates: Vec<_> = parse_pem(&pem).filter_map(certificate).collect();
    if certificates.is_empty() {
        return Err(Error::input(format!("{} holds no certificate", path.display())).hint(hint));
    }
    Ok(certificates.into())
}

/// The address in a `Link` header that is marked as the next page's.
fn next_page(link: &str) -> Option<&str> {
    let is_next = |part: &&str| part.contains("rel=\"next\"");
    link.split(',').find(is_next).and_then(|part| part.split_once('<')?.1.split_once('>')).map(|(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encrypted_connection_never_leads_to_a_plain_one() {
        for (hub, from, to, is_followed) in [
            ("https://hub", "https://hub/x", "https://other/y", true),
            ("https://hub", "https://hub/x", "http://hub/y", false),
            ("http://hub", "http://hub/x", "http://other/y", true),
            ("http://hub", "http://hub/x", "https://other/y", true),
            ("http://hub", "https://other/x", "http://hub/y", false),
        ] {
            let variable = |name: &str| match name {
                "HF_ENDPOINT" => Some(hub.to_owned()),
                "HF_HOME" => Some("/nonexistent".to_owned()),
                _ => None,
            };
            let environment = Environment::from_variables(&variable).unwrap();
            let (client, from) = (Client::new(&environment).unwrap(), Address::of_hub(from).unwrap());
            assert_eq!(client.target("x", &from, Some(to)).is_ok(), is_followed, "{hub}: {from:?} to {to}");
        }
    }

    #[test]
    fn the_next_page_is_the_one_that_is_marked_so() {
        assert_eq!(next_page("<a>; rel=\"prev\", <b?c>; rel=\"next\""), Some("b?c"));
        assert_eq!(next_page("<a>; rel=\"prev\""), None);
    }
}
