//! Which proxy an address is reached through: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, as curl reads them. This machine is
//! never reached through one.

use super::address::Address;
use crate::{Error, Result};
use std::fmt;
use std::net::IpAddr;
use ureq::Proxy;

/// The proxies of each scheme, and the hosts that are reached without one.
#[derive(Clone, Default)]
pub struct Proxies {
    encrypted: Option<Proxy>,
    plain: Option<Proxy>,
    excepted: Vec<String>,
}

impl Proxies {
    /// As `variable` says; an empty one is one that is not set.
    ///
    /// # Errors
    /// The user's: a variable that names no proxy. The message does not show it, because of passwords.
    pub fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let set = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let either = |name: &str| [name.to_ascii_lowercase(), name.to_owned()].into_iter().find_map(|name| Some((set(&name)?, name)));
        let proxy = |name: &str| either(name).or_else(|| either("ALL_PROXY")).map(|(value, name)| parsed(&value, &name)).transpose();
        let excepted = either("NO_PROXY").map(|(value, _)| value).unwrap_or_default().to_ascii_lowercase();
        let excepted = excepted.split([',', ' ']).filter(|entry| !entry.is_empty()).map(str::to_owned).collect();
        Ok(Self { encrypted: proxy("HTTPS_PROXY")?, plain: proxy("HTTP_PROXY")?, excepted })
    }

    /// Each of them.
    pub(super) fn all(&self) -> Vec<Proxy> {
        self.encrypted.iter().chain(&self.plain).cloned().collect()
    }

    /// That of `address`, if it has one.
    pub(super) fn of(&self, address: &Address) -> Option<&Proxy> {
        let proxy = if address.is_encrypted() { &self.encrypted } else { &self.plain };
        let host = address.host().to_ascii_lowercase();
        let is_direct = || address.is_loopback() || self.excepted.iter().any(|entry| covers(entry, &host));
        proxy.as_ref().filter(|_| !is_direct())
    }
}

/// Never their passwords.
impl fmt::Debug for Proxies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |proxy: &Option<Proxy>| proxy.as_ref().map(|proxy| proxy.host().to_owned());
        write!(formatter, "Proxies({:?}, {:?}, except {:?})", host(&self.encrypted), host(&self.plain), self.excepted)
    }
}

fn parsed(value: &str, name: &str) -> Result<Proxy> {
    let proxy = Proxy::new(value).ok().filter(|proxy| !proxy.host().is_empty());
    proxy.ok_or_else(|| Error::input(format!("{name} names no proxy")).hint("write http://host:port, or unset it"))
}

/// Whether an entry of `NO_PROXY` means `host`: everything, a name and those below it, an address, or a network such as 10.0.0.0/8.
fn covers(entry: &str, host: &str) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(address) = host.parse() {
        let (network, length) = entry.split_once('/').map_or((entry, None), |(network, length)| (network, Some(length)));
        return network.trim_matches(['[', ']']).parse().is_ok_and(|network| is_within(address, network, length));
    }
    let name = entry.trim_start_matches('*').trim_start_matches('.');
    host.strip_suffix(name).is_some_and(|rest| !name.is_empty() && (rest.is_empty() || rest.ends_with('.')))
}

fn is_within(address: IpAddr, network: IpAddr, length: Option<&str>) -> bool {
    let (address, network, num_bits) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => (u32::from(address).into(), u32::from(network).into(), 32),
        (IpAddr::V6(address), IpAddr::V6(network)) => (u128::from(address), u128::from(network), 128),
        _ => return false,
    };
    let length = length.map_or(Some(num_bits), |length| length.parse().ok().filter(|length| *length <= num_bits));
    length.is_some_and(|length: u32| (address ^ network).checked_shr(num_bits - length).unwrap_or(0) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(variables: &[(&str, &str)], address: &str) -> Option<String> {
        let value = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        let proxies = Proxies::from_variables(&value).unwrap();
        proxies.of(&Address::of_hub(address).unwrap()).map(|proxy| format!("{}:{}", proxy.host(), proxy.port()))
    }

    #[test]
    fn each_scheme_has_its_proxy_and_small_letters_win() {
        let variables = [("HTTPS_PROXY", "http://one:1"), ("HTTP_PROXY", "two:2"), ("https_proxy", ""), ("ALL_PROXY", "socks5://three:3")];
        assert_eq!(host_of(&variables, "https://hub").as_deref(), Some("one:1"));
        assert_eq!(host_of(&variables, "http://hub").as_deref(), Some("two:2"));
        assert_eq!(host_of(&variables[2..], "http://hub").as_deref(), Some("three:3"));
        assert_eq!(host_of(&[("https_proxy", "a:1"), ("HTTPS_PROXY", "b:2")], "https://hub").as_deref(), Some("a:1"));
        assert_eq!(host_of(&[("HTTP_PROXY", "a:1")], "https://hub"), None);
    }

    #[test]
    fn this_machine_and_what_no_proxy_names_is_reached_directly() {
        for (excepted, address, is_direct) in [
            ("", "http://127.0.0.1:8000", true),
            ("", "http://localhost", true),
            ("", "http://hub", false),
            ("*", "http://hub", true),
            ("other, example.com", "http://hub.example.com", true),
            (".example.com", "http://example.com", true),
            ("*.example.com", "http://a.b.Example.com", true),
            ("example.com", "http://badexample.com", false),
            ("10.1.2.3", "http://10.1.2.3", true),
            ("10.0.0.0/8", "http://10.9.9.9", true),
            ("10.0.0.0/8", "http://11.0.0.1", false),
            ("0.0.0.0/0", "http://11.0.0.1", true),
            ("10.0.0.0/99", "http://10.0.0.1", false),
            ("fd00::/8", "http://[fd12::1]", true),
            ("::/0", "http://[fd12::1]", true),
            ("fd00::/8", "http://10.0.0.1", false),
        ] {
            let variables = [("HTTP_PROXY", "proxy:1"), ("NO_PROXY", excepted)];
            assert_eq!(host_of(&variables, address).is_none(), is_direct, "{excepted:?} {address}");
        }
    }

    #[test]
    fn a_variable_that_names_no_proxy_is_named_and_its_password_is_not_shown() {
        let error = Proxies::from_variables(&|name| (name == "HTTPS_PROXY").then(|| "ftp://me:secret@x y".to_owned())).unwrap_err();
        assert!(error.to_string().contains("HTTPS_PROXY") && !error.to_string().contains("secret"), "{error}");
        let proxies = Proxies::from_variables(&|name| (name == "HTTPS_PROXY").then(|| "http://me:secret@x:1".to_owned())).unwrap();
        assert!(!format!("{proxies:?}").contains("secret"), "{proxies:?}");
    }
}
