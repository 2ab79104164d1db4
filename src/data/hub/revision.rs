//! What commit a branch or tag is, asked through hf-hub. Without a token of ours it would look for one itself, which is prevented here:
//! the environment of a fetch is all that counts.

use super::client::{USER_AGENT, endpoint, is_loopback};
use super::failure::{Failure, Refusal, is_malformed, no_hub, transport};
use super::names::is_commit;
use super::patience::retry;
use super::{Environment, Kind, Request};
use crate::{Error, Result};
use hf_hub::{HFClient, HFClientSync, HFError, HFResult, split_id};
use reqwest::Url;
use std::time::Duration;

/// Makes hf-hub send no token at all: it is no valid header, and given, so that it looks for no other.
const NO_TOKEN: &str = "\n";

/// Asks what a revision is.
pub(super) struct Resolver<'a> {
    client: HFClientSync,
    environment: &'a Environment,
    stop: &'a dyn Fn() -> bool,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(environment: &'a Environment, stop: &'a dyn Fn() -> bool) -> Result<Self> {
        let endpoint = endpoint(environment)?;
        let http = http_client(environment, &endpoint).map_err(|error| Error::from(error).context("setting up encrypted connections"))?;
        let builder = HFClient::builder()
            .client(http)
            .endpoint(endpoint.as_str())
            .token(environment.token.as_ref().map_or(NO_TOKEN, |token| token.secret()))
            .cache_dir(&environment.cache_dir)
            .cache_enabled(false)
            .retry_max_attempts(0); // Ours wait as the server says, and can be stopped.
        let client = builder.build_sync().map_err(|error| Error::ours(format!("setting up hf-hub: {error}")))?;
        Ok(Self { client, environment, stop })
    }

    /// The commit that the request's revision is now.
    pub(super) fn commit(&self, request: &Request) -> Result<String> {
        let (owner, name) = split_id(&request.repository);
        let revision = request.revision.as_str();
        // Only what is needed: the rest of the answer has a line for each file of the repository.
        let fields = || vec!["sha".to_owned()];
        let ask = || match request.kind {
            Kind::Dataset => self.client.dataset(owner, name).info().revision(revision).expand(fields()).send().map(|info| info.sha),
            Kind::Model => self.client.model(owner, name).info().revision(revision).expand(fields()).send().map(|info| info.sha),
        };
        let commit = self.retried(request, ask)?;
        commit.filter(|commit| is_commit(commit)).ok_or_else(|| Error::ours(format!("{request}: the server does not name its commit")))
    }

    fn retried<T>(&self, request: &Request, ask: impl Fn() -> HFResult<T>) -> Result<T> {
        retry(&self.environment.patience, self.stop, || ask().map_err(|error| self.failure(request, error)))
    }

    fn failure(&self, request: &Request, error: HFError) -> Failure {
        let (wanted, token) = (request.to_string(), self.environment.token.as_ref());
        if let Some(refusal) = refusal(&error) {
            return refusal.into_failure(&wanted, token);
        }
        match &error {
            HFError::Request { source, url } if !is_malformed(source) => {
                let address = url.as_deref().and_then(|url| Url::parse(url).ok()).as_ref().map_or_else(String::new, super::client::shown);
                transport(&wanted, &address, source, self.environment.patience.stall_timeout)
            }
            _ => Failure::Final(no_hub(&wanted)),
        }
    }
}

fn http_client(environment: &Environment, endpoint: &Url) -> reqwest::Result<reqwest::Client> {
    let patience = &environment.patience;
    let builder = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(patience.connect_timeout)
        .read_timeout(patience.stall_timeout)
        .https_only(endpoint.scheme() == "https");
    if is_loopback(endpoint) { builder.no_proxy().build() } else { builder.build() }
}

/// What the server answered, if it did.
fn refusal(error: &HFError) -> Option<Refusal> {
    let context = match error {
        HFError::Http { context }
        | HFError::AuthRequired { context }
        | HFError::Forbidden { context }
        | HFError::Conflict { context }
        | HFError::RateLimited { context, .. }
        | HFError::RepoNotFound { context: Some(context), .. }
        | HFError::RevisionNotFound { context: Some(context), .. }
        | HFError::EntryNotFound { context: Some(context), .. } => context,
        _ => return None,
    };
    let retry_after: Option<Duration> = if let HFError::RateLimited { retry_after, .. } = error { *retry_after } else { None };
    let address = Url::parse(&context.url).as_ref().map_or_else(|_| String::new(), super::client::shown);
    let (code, message) = (context.error_code.clone(), context.server_message.clone());
    Some(Refusal { status: context.status.as_u16(), address, code, message, retry_after })
}
