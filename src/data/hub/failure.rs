//! What can go wrong between here and a server: in words, with a hint, and whether asking again may help. No message holds a token or
//! the query of an address, which on content servers is a signature.

use super::Token;
use crate::{Error, Fault};
use std::error::Error as StdError;
use std::time::Duration;

/// Bytes of a server's own message that are worth showing.
const MAX_MESSAGE_CHARS: usize = 300;

/// Why an attempt failed.
pub(super) enum Failure {
    /// Asking again may help.
    Passing {
        /// What to say if it does not.
        error: Error,
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Asking again does not help.
    Final(Error),
}

impl Failure {
    pub(super) fn passing(error: Error) -> Self {
        Self::Passing { error, retry_after: None }
    }
}

/// What an attempt gives.
pub(super) type Attempt<T> = std::result::Result<T, Failure>;

/// An answer that no Hub gives.
pub(super) fn no_hub(wanted: &str) -> Error {
    Error::ours(format!("{wanted}: the answer is not that of a Hub")).hint("check HF_ENDPOINT")
}

/// Asked to stop.
pub(super) fn stopped() -> Error {
    Error::ours("the download was stopped").hint("the same command goes on where it stopped")
}

/// A server's refusal.
pub(super) struct Refusal {
    /// The status of the answer.
    pub(super) status: u16,
    /// Host and path of the address.
    pub(super) address: String,
    /// `X-Error-Code`, which tells apart what a 404 means.
    pub(super) code: Option<String>,
    /// What the server says to it.
    pub(super) message: Option<String>,
    /// `Retry-After`.
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    /// As a failure to get `wanted`.
    pub(super) fn into_failure(self, wanted: &str, token: Option<&Token>) -> Failure {
        let (fault, hint) = self.advice(token.is_some());
        let said = self.message.as_deref().map(|message| shown(message, token)).filter(|message| !message.is_empty());
        let said = said.map(|message| format!(" ({message})")).unwrap_or_default();
        let message = format!("{wanted}: {}{said}; status {} of {}", self.meaning(), self.status, self.address);
        let error = match fault {
            Fault::Input => Error::input(message),
            Fault::Ours => Error::ours(message),
        };
        match self.status {
            408 | 429 | 500 | 502 | 503 | 504 => Failure::Passing { error: error.hint(hint), retry_after: self.retry_after },
            _ => Failure::Final(error.hint(hint)),
        }
    }

    fn meaning(&self) -> &'static str {
        match (self.status, self.code.as_deref()) {
            (_, Some("GatedRepo")) => "access has to be asked for",
            (404, Some("RevisionNotFound")) => "there is no such revision",
            (404, Some("EntryNotFound")) => "there is no such file",
            (401, _) => "the server does not say who may read it, or that it exists",
            (403, _) => "access is refused",
            (404, _) => "there is no such repository, or no such revision",
            (429, _) => "the server was asked too often",
            (500.., _) => "the server has a problem",
            _ => "the server refuses",
        }
    }

    fn advice(&self, has_token: bool) -> (Fault, &'static str) {
        match self.status {
            401 | 403 if has_token => {
                (Fault::Input, "the token of HF_TOKEN may not read it: accept its terms on its page, or use another token")
            }
            401 | 403 => (Fault::Input, "check its name; a private or gated one needs a token with access in HF_TOKEN"),
            404 => (Fault::Input, "check its name, whether it is a dataset or a model, and the revision; a private one needs HF_TOKEN"),
            429 if !has_token => (Fault::Ours, "run it again in some minutes, or with a token in HF_TOKEN; what is there is kept"),
            429 | 500.. => (Fault::Ours, "run it again in some minutes; what is there is kept"),
            _ => (Fault::Ours, "check HF_ENDPOINT"),
        }
    }
}

/// Text of a server made fit to be shown: one line, no control characters, no token.
fn shown(message: &str, token: Option<&Token>) -> String {
    let message = match token {
        Some(token) => message.replace(token.secret(), "(token)"),
        None => message.to_owned(),
    };
    let is_shown = |c: &char| !c.is_control();
    message.chars().filter(is_shown).take(MAX_MESSAGE_CHARS).collect::<String>().trim().to_owned()
}

/// A connection that was not made, broke off or fell silent while `wanted` was asked of `address`.
pub(super) fn transport(wanted: &str, address: &str, error: &(dyn StdError + 'static), stall_timeout: Duration) -> Failure {
    let found = causes(error).find_map(|cause| cause.downcast_ref::<reqwest::Error>());
    let is_timeout = causes(error).any(is_timeout);
    let is_connect = found.is_some_and(reqwest::Error::is_connect);
    let root = causes(error).last().map(ToString::to_string).unwrap_or_default();
    let what = match (is_connect, is_timeout) {
        (true, true) => format!("no connection to {address} in time"),
        (true, false) => format!("no connection to {address} ({root})"),
        (false, true) => format!("{address} has sent nothing for {:.1} s", stall_timeout.as_secs_f64()),
        (false, false) => format!("the connection to {address} broke off ({root})"),
    };
    let hint = if is_connect {
        "check the network, HF_ENDPOINT and proxy settings; HF_HUB_OFFLINE=1 uses what is in the cache"
    } else {
        "run it again: it goes on where it stopped"
    };
    Failure::passing(Error::ours(format!("{wanted}: {what}")).hint(hint))
}

/// An error and what is below it; an [`std::io::Error`] hides its own content from `source`.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&cause: &&'a (dyn StdError + 'static)| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(|cause| cause.get_ref());
        inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| cause.source())
    })
}

fn is_timeout(cause: &(dyn StdError + 'static)) -> bool {
    cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout)
        || cause.downcast_ref::<std::io::Error>().is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}

/// Whether an answer came whole and is not the JSON that it should be.
pub(super) fn is_malformed(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<serde_json::Error>().is_some())
}
