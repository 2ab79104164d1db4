//! What can go wrong between here and a server: in words, with a hint, and whether asking again may help. No message holds a token or
//! the query of an address, which on content servers is a signature.

use super::address::Address;
use super::{Patience, Token};
use crate::{Error, Fault};
use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::time::Duration;
use ureq::Timeout;

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
    /// No connection was made. Asking again may help where the server was there before; where it never was, once.
    Unreachable {
        /// What to say if it does not.
        error: Error,
        /// Whether that took as long as it is waited for.
        is_timeout: bool,
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

/// An answer that did not come, or not whole: whether any came, what is known of that, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    NoConnection { is_timeout: bool },
    Untrusted,
    Silence,
    BrokenOff,
    LongHead,
}

/// A connection that was not made, broke off or fell silent while `wanted` was asked of `address`.
pub(super) fn transport(wanted: &str, address: &Address, error: &ureq::Error, patience: &Patience) -> Failure {
    let (trouble, reason) = (trouble(error), reason(error));
    let (shown, host) = (address.shown(), address.shown_host());
    let what = match trouble {
        Trouble::NoConnection { is_timeout: true } => {
            format!("no connection to {host} within {} s", patience.connect_timeout.as_secs_f64())
        }
        Trouble::NoConnection { is_timeout: false } => format!("no connection to {host} ({reason})"),
        Trouble::Untrusted => format!("{host} does not prove that it is {host} ({reason})"),
        Trouble::Silence => format!("{shown} has sent nothing for {:.1} s", patience.stall_timeout.as_secs_f64()),
        Trouble::BrokenOff => format!("the connection to {shown} broke off ({reason})"),
        Trouble::LongHead => format!("the head of the answer of {shown} is too long ({reason})"),
    };
    let hint = match trouble {
        Trouble::NoConnection { .. } => "check the network, HF_ENDPOINT and proxy settings; HF_HUB_OFFLINE=1 uses what is in the cache",
        Trouble::Untrusted => "where a proxy opens connections, SSL_CERT_FILE has to name a file with its certificate in PEM",
        Trouble::Silence | Trouble::BrokenOff => "run it again: it goes on where it stopped",
        Trouble::LongHead => "check HF_ENDPOINT",
    };
    let error = unanswered(format!("{wanted}: {what}")).hint(hint);
    match trouble {
        Trouble::NoConnection { is_timeout } => Failure::Unreachable { error, is_timeout },
        Trouble::Untrusted | Trouble::LongHead => Failure::Final(error),
        Trouble::Silence | Trouble::BrokenOff => Failure::passing(error),
    }
}

/// An error that says that nobody was asked, or nobody answered; [`is_unanswered`] knows it again.
pub(super) fn unanswered(message: String) -> Error {
    io::Error::new(ErrorKind::NotConnected, message).into()
}

/// Whether a plan or a fetch failed because nobody answered, and not because of what was answered: without a network, or offline.
pub fn is_unanswered(error: &Error) -> bool {
    error.io_kind() == Some(ErrorKind::NotConnected)
}

fn trouble(error: &ureq::Error) -> Trouble {
    use ureq::Error as E;
    match error {
        E::Rustls(error) if is_about_trust(error) => Trouble::Untrusted,
        E::Io(error) if causes(error).filter_map(|cause| cause.downcast_ref()).any(is_about_trust) => Trouble::Untrusted,
        E::Timeout(Timeout::Resolve | Timeout::Connect) => Trouble::NoConnection { is_timeout: true },
        E::Timeout(_) => Trouble::Silence,
        E::Io(error) if error.kind() == ErrorKind::TimedOut => Trouble::Silence,
        E::LargeResponseHeader(..) => Trouble::LongHead,
        E::Io(error) if is_of_a_connection(error.kind()) => Trouble::BrokenOff,
        E::Io(_) | E::HostNotFound | E::ConnectionFailed | E::ConnectProxyFailed(_) => Trouble::NoConnection { is_timeout: false },
        _ => Trouble::BrokenOff,
    }
}

/// Whether an error of this kind is of a connection that was made. What else there is, such as names that are not found, is of the attempt
/// to make one.
fn is_of_a_connection(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, InvalidData, UnexpectedEof, WouldBlock};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | Interrupted | InvalidData | UnexpectedEof | WouldBlock)
}

fn is_about_trust(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(_))
}

/// What is at the bottom of it.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => causes(error).last().unwrap_or(error).to_string(),
        other => other.to_string(),
    }
}

/// An error and what is below it; an [`io::Error`] hides its own content from `source`.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&cause: &&'a (dyn StdError + 'static)| {
        let inner = cause.downcast_ref::<io::Error>().and_then(|cause| cause.get_ref());
        inner.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| cause.source())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::Error as E;

    #[test]
    fn a_connection_that_was_not_made_is_told_from_one_that_broke() {
        let io = |kind: ErrorKind| E::Io(kind.into());
        for error in
            [io(ErrorKind::ConnectionRefused), io(ErrorKind::NetworkUnreachable), E::HostNotFound, E::Io(io::Error::other("lookup"))]
        {
            assert_eq!(trouble(&error), Trouble::NoConnection { is_timeout: false }, "{error:?}");
        }
        for error in [io(ErrorKind::ConnectionReset), io(ErrorKind::UnexpectedEof), io(ErrorKind::BrokenPipe)] {
            assert_eq!(trouble(&error), Trouble::BrokenOff, "{error:?}");
        }
        assert_eq!(trouble(&E::Timeout(Timeout::Connect)), Trouble::NoConnection { is_timeout: true });
        assert_eq!(trouble(&E::Timeout(Timeout::PerRead)), Trouble::Silence);
    }

    #[test]
    fn a_server_that_cannot_be_trusted_is_not_asked_again() {
        let untrusted = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        for error in [E::Rustls(untrusted()), E::Io(io::Error::new(ErrorKind::InvalidData, untrusted()))] {
            let address = Address::of_hub("https://hub").unwrap();
            let Failure::Final(error) = transport("x", &address, &error, &Patience::default()) else { panic!("asked again") };
            assert!(error.to_string().contains("hub does not prove") && error.to_string().contains("SSL_CERT_FILE"), "{error}");
        }
    }
}
