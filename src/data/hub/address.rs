//! Addresses: that of a Hub, those below it, and where a server leads to. What is compared here is what is connected to: both are one
//! parsed [`Uri`], so that no two readings of an address can differ about its host.

use crate::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::net::IpAddr;
use ureq::http::Uri;

/// Bytes of an `HF_ENDPOINT`.
const MAX_ENDPOINT_BYTES: usize = 2048;
/// Bytes of any address: signed ones have some thousand.
const MAX_ADDRESS_BYTES: usize = 32 << 10;
/// What is written in another way within a part of a path: everything but the unreserved characters of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The address of something on a web server: `http` or `https`, a host, and no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address(Uri);

/// Scheme, host and port: who is spoken to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    is_encrypted: bool,
    host: String,
    port: u16,
}

impl Address {
    /// That of a Hub, as `HF_ENDPOINT` has it.
    ///
    /// # Errors
    /// The user's: it is none, or one with a password.
    pub(super) fn of_hub(endpoint: &str) -> Result<Self> {
        let is_short = endpoint.len() <= MAX_ENDPOINT_BYTES;
        let address = Self::parse(endpoint).filter(|address| is_short && address.0.query().is_none() && !endpoint.contains('#'));
        address.ok_or_else(|| {
            // A password may be in it, and a mistake may be of any length: only a plain beginning is shown.
            let shown: String = endpoint.chars().take(60).take_while(|c| c.is_ascii_graphic() && *c != '@').collect();
            let shown = if endpoint.contains('@') { "it has an @".to_owned() } else { format!("it begins with {shown:?}") };
            Error::input(format!("HF_ENDPOINT is no address of a Hub: {shown}"))
                .hint("write https://host, without a password, or leave it out")
        })
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_ADDRESS_BYTES {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        let has_port = authority.as_str().len() > authority.host().len();
        let is_plain = !authority.as_str().contains('@') && (!has_port || authority.port_u16().is_some_and(|port| port > 0));
        let is_web = matches!(uri.scheme_str()?, "http" | "https") && !authority.host().is_empty();
        (is_plain && is_web).then_some(Self(uri))
    }

    /// What is connected to.
    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    /// The address below this one that these parts of a path lead to. A part may have any characters.
    ///
    /// # Errors
    /// The user's: it would be too long.
    pub(super) fn below<'a>(&self, parts: impl IntoIterator<Item = &'a str>, query: &str) -> Result<Self> {
        let mut text = format!("{}{}", self.origin_text(), self.0.path().trim_end_matches('/'));
        for part in parts {
            text.push('/');
            text.extend(utf8_percent_encode(part, ENCODED));
        }
        text.push_str(query);
        Self::parse(&text).ok_or_else(|| Error::input("the name is too long for an address").hint("check HF_ENDPOINT, names and patterns"))
    }

    /// Where `location`, said by whoever answers here, leads (RFC 3986, 5.2); none if that is no address.
    pub(super) fn joined(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next().unwrap_or_default();
        if has_scheme(location) {
            return Self::parse(location);
        }
        if location.starts_with("//") {
            return Self::parse(&format!("{}:{location}", self.0.scheme_str()?));
        }
        let (path, query) = match location.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (location, None),
        };
        let (path, query) = match path {
            "" => (self.0.path().to_owned(), query.or_else(|| self.0.query())),
            path if path.starts_with('/') => (without_dots(path), query),
            path => (without_dots(&format!("{}/{path}", self.0.path().rsplit_once('/').map_or("", |(dir, _)| dir))), query),
        };
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Self::parse(&format!("{}{path}{query}", self.origin_text()))
    }

    fn origin_text(&self) -> String {
        format!("{}://{}", self.0.scheme_str().unwrap_or_default(), self.0.authority().map_or("", |authority| authority.as_str()))
    }

    /// Who is spoken to.
    pub(super) fn origin(&self) -> Origin {
        let is_encrypted = self.is_encrypted();
        let port = self.0.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
        Origin { is_encrypted, host: self.host().to_ascii_lowercase(), port }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// As written, without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// Whether it is on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.host().to_ascii_lowercase();
        host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(|host: IpAddr| host.is_loopback())
    }

    /// Host and path: the query of a content server is a signature, which is nobody's business.
    pub(super) fn shown(&self) -> String {
        format!("{}{}", self.shown_host(), self.0.path())
    }

    /// Host and, where it is an unusual one, port.
    pub(super) fn shown_host(&self) -> &str {
        self.0.authority().map_or("", |authority| authority.as_str())
    }
}

fn has_scheme(location: &str) -> bool {
    let is_scheme = |text: &str| {
        let mut characters = text.chars();
        characters.next().is_some_and(|first| first.is_ascii_alphabetic())
            && characters.all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character))
    };
    location.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme))
}

/// A path in which `.` and `..` are gone (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let is_directory = matches!(path.rsplit('/').next(), Some("." | ".."));
    format!("/{}{}", parts.join("/"), if is_directory && !parts.is_empty() { "/" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(endpoint: &str) -> Address {
        Address::of_hub(endpoint).unwrap()
    }

    #[test]
    fn what_is_no_address_of_a_hub_is_refused_without_showing_a_password() {
        let long = format!("https://hub/{}", "a".repeat(3000));
        let port = ["https://hub:99999", "https://hub:0", "https://hub:", "https://hub:a"];
        for wrong in [
            "",
            "huggingface.co",
            "/hub",
            "ftp://hub",
            "file:///hub",
            "https://",
            "https:///x",
            "https://a b",
            "https://h?x=1",
            "https://h#x",
        ]
        .iter()
        .chain(&port)
        .chain([&"https://user:secret@hub", &"https://secret@hub", &"not an address", &long.as_str()])
        {
            let error = Address::of_hub(wrong).unwrap_err();
            let said = error.to_string();
            assert!(error.exit_status() == 2 && said.contains("HF_ENDPOINT is no address") && said.len() < 300, "{wrong}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
        for right in ["https://huggingface.co", "http://127.0.0.1:8080/", "https://mirror/hf", "http://[::1]:80", "HTTPS://Hub"] {
            hub(right);
        }
    }

    #[test]
    fn names_become_parts_of_a_path_and_nothing_else() {
        let address = hub("https://mirror/hf/").below(["a", "resolve", "refs/pr/1", "x ?#&%2F.txt"], "?expand=sha").unwrap();
        assert_eq!(address.uri().to_string(), "https://mirror/hf/a/resolve/refs%2Fpr%2F1/x%20%3F%23%26%252F.txt?expand=sha");
        assert!(hub("https://h").below(["a".repeat(1 << 20).as_str()], "").is_err());
    }

    #[test]
    fn where_a_server_leads_is_read_as_browsers_do() {
        let here = hub("https://hub/a/b");
        for (location, expected) in [
            ("https://other/x?y=1#z", "https://other/x?y=1"),
            ("//other/x", "https://other/x"),
            ("/x/../y", "https://hub/y"),
            ("c", "https://hub/a/c"),
            ("../../../c?d", "https://hub/c?d"),
            ("?cursor=1", "https://hub/a/b?cursor=1"),
            ("", "https://hub/a/b"),
            ("./", "https://hub/a/"),
        ] {
            assert_eq!(here.joined(location).unwrap().uri().to_string(), expected, "{location}");
        }
        for nowhere in ["ftp://x", "javascript:1", "https://user@other/", "https://", "//", "https://other:99999/", "/a b"] {
            assert_eq!(here.joined(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |text: &str| hub(text).origin();
        assert_eq!(origin("https://Hub/a"), origin("https://hub:443/b"));
        for other in ["http://hub", "https://hub:444", "https://hub.", "https://sub.hub", "https://hub.evil"] {
            assert_ne!(origin("https://hub"), origin(other), "{other}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for here in ["http://localhost:1", "http://127.0.0.9", "http://[::1]:8", "http://hub.localhost"] {
            assert!(hub(here).is_loopback(), "{here}");
        }
        for other in ["http://127.0.0.1.evil", "http://localhost.evil", "http://128.0.0.1", "http://[::2]"] {
            assert!(!hub(other).is_loopback(), "{other}");
        }
    }
}
