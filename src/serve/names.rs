//! Under which names the server answers. A page of another site can have its own name lead to this machine (DNS rebinding), and the
//! browser then takes the server for a part of that site: so names that are not the server's get no answer.

use super::api_error::ApiError;
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, StatusCode, header};
use std::net::IpAddr;

/// The names that are the server's beside its addresses and `localhost`.
#[derive(Debug, Clone)]
pub(super) struct Names(Vec<String>);

impl Names {
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| plain(name)).collect())
    }

    /// Refuses a request that was meant for another name, or that a page of another site sends.
    pub fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
        let host = match headers.get(header::HOST).map(|host| host.to_str()) {
            None => None,
            Some(Ok(host)) => Some(host.parse::<Authority>().map_err(|_| refused_name(host))?),
            Some(Err(_)) => return Err(refused_name("with characters beyond ASCII")),
        };
        // A request may name the server in its first line, too.
        for authority in host.iter().chain(uri.authority()) {
            // An address is no name that somebody else could lead here.
            if !is_address(authority.host()) && !self.has(authority.host()) {
                return Err(refused_name(authority.host()));
            }
        }
        headers.get_all(header::ORIGIN).iter().try_for_each(|origin| self.check_origin(origin.to_str().unwrap_or("null"), host.as_ref()))
    }

    /// What a browser sends for a page: of this server, of another program on this machine, or of a site. Extensions of a browser, which
    /// its user installed, have schemes of their own.
    fn check_origin(&self, origin: &str, host: Option<&Authority>) -> Result<(), ApiError> {
        let authority = match origin.split_once("://") {
            Some(("http" | "https", authority)) => authority.parse::<Authority>().ok(),
            Some(_) => return Ok(()),
            None => None,
        };
        let is_own = |authority: &Authority| host == Some(authority) || is_loopback(authority.host()) || self.has(authority.host());
        match authority.as_ref().is_some_and(is_own) {
            true => Ok(()),
            false => {
                let message =
                    format!("pages of {origin:?} get no answer here; a page of a name of this server does: start it with --host-name NAME");
                Err(ApiError::new(StatusCode::FORBIDDEN, "origin_not_allowed", message))
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        let name = plain(name);
        name == "localhost" || name.ends_with(".localhost") || self.0.contains(&name)
    }
}

fn refused_name(name: &str) -> ApiError {
    let message = format!("this server does not answer to the name {name:?}; start it with --host-name NAME if that is one of its own");
    ApiError::new(StatusCode::FORBIDDEN, "host_not_allowed", message)
}

/// As names are compared: without capitals and the dot of the root.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn address(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_address(host: &str) -> bool {
    address(host).is_some()
}

fn is_loopback(host: &str) -> bool {
    address(host).is_some_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn check(fields: &[(HeaderName, &str)], uri: &str) -> Result<(), ApiError> {
        let fields = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        Names::new(&["Models.Example.".to_owned()]).check(&fields.collect(), &uri.parse().unwrap())
    }

    #[test]
    fn addresses_localhost_and_own_names_are_answered_and_no_others() {
        let own = [
            "127.0.0.1:8080",
            "192.168.1.7",
            "[::1]:8080",
            "[::1]",
            "localhost",
            "LOCALHOST:80",
            "localhost.",
            "models.example:1",
            "a.localhost",
        ];
        for host in own {
            assert_eq!(check(&[(header::HOST, host)], "/"), Ok(()), "{host}");
        }
        assert_eq!(check(&[], "/"), Ok(()), "no browser leaves it out");
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost", "x y", "", "models.example.evil", "évil"]
        {
            assert!(check(&[(header::HOST, host)], "/").is_err(), "{host}");
        }
        assert!(check(&[(header::HOST, "localhost")], "http://evil.example/").is_err(), "the first line counts, too");
    }

    #[test]
    fn pages_of_other_sites_are_refused_and_those_of_this_machine_are_not() {
        let from = |origin: &str| check(&[(header::HOST, "10.0.0.7:8080"), (header::ORIGIN, origin)], "/");
        for origin in
            ["http://10.0.0.7:8080", "http://localhost:3000", "http://127.0.0.1", "https://models.example", "chrome-extension://abc"]
        {
            assert_eq!(from(origin), Ok(()), "{origin}");
        }
        for origin in ["https://evil.example", "http://10.0.0.7:9000", "http://203.0.113.5", "null", "http://", ""] {
            assert!(from(origin).is_err(), "{origin}");
        }
    }
}
