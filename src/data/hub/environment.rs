//! Where the Hub is, where its cache lies and who is asking: the variables that huggingface_hub reads, as a plain struct.

use super::address::Address;
use super::{Patience, Proxies, Token};
use crate::storage::{DISK, FileSystem, RealFileSystem, read_capped};
use crate::{Error, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// Bytes of a file that holds a token.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Where the Hub is, where its cache lies and who is asking.
#[derive(Clone)]
pub struct Environment {
    /// `HF_ENDPOINT`: the address of the Hub, or of a mirror.
    pub endpoint: String,
    /// `HF_HUB_CACHE`, else `$HF_HOME/hub`.
    pub cache_dir: PathBuf,
    /// `HF_TOKEN`, else the file `$HF_HOME/token`.
    pub token: Option<Token>,
    /// `HF_HUB_OFFLINE`: nothing but the cache.
    pub is_offline: bool,
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    pub proxies: Proxies,
    /// `SSL_CERT_FILE`, else `REQUESTS_CA_BUNDLE`: whom to trust, in place of those whom Mozilla trusts.
    pub certificates: Option<PathBuf>,
    /// How long to wait, and how often.
    pub patience: Patience,
    /// What the cache is written through.
    pub file_system: Arc<dyn FileSystem>,
}

impl Environment {
    /// As the process's variables say.
    ///
    /// # Errors
    /// No home directory to put a cache into, a token that cannot be one, or a proxy that is none.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(&|name| std::env::var(name).ok())
    }

    /// As `variable` says; an empty one is one that is not set.
    ///
    /// # Errors
    /// No home directory to put a cache into, a token that cannot be one, or a proxy that is none.
    pub fn from_variables(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let set = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let home_dir = set("HOME").or_else(|| set("USERPROFILE")).map(PathBuf::from);
        let path = |name: &str| set(name).map(|value| expanded(&value, home_dir.as_deref()));
        let above_home = || path("XDG_CACHE_HOME").or_else(|| Some(home_dir.as_ref()?.join(".cache")));
        let hub_home = path("HF_HOME").or_else(|| Some(above_home()?.join("huggingface")));
        let cache_dir = path("HF_HUB_CACHE").or_else(|| Some(hub_home.as_ref()?.join("hub"))).ok_or_else(no_cache_dir)?;
        let token_path = path("HF_TOKEN_PATH").or_else(|| Some(hf_hub::Cache::new(hub_home?.join("hub")).token_path()));
        let token = set("HF_TOKEN").or_else(|| read_token(&token_path?));
        Ok(Self {
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned()),
            cache_dir,
            token: token.map(|token| Token::new(&token)).transpose()?,
            is_offline: set("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value)),
            proxies: Proxies::from_variables(variable)?,
            certificates: path("SSL_CERT_FILE").or_else(|| path("REQUESTS_CA_BUNDLE")),
            patience: Patience::default(),
            file_system: Arc::new(RealFileSystem),
        })
    }

    /// The host that is asked, with its port where that is an unusual one.
    ///
    /// # Errors
    /// The user's: an endpoint that is no address.
    pub fn host(&self) -> Result<String> {
        Ok(Address::of_hub(&self.endpoint)?.shown_host().to_owned())
    }
}

/// Never the token.
impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, cache_dir, token, is_offline, proxies, certificates, patience, file_system: _ } = self;
        formatter
            .debug_struct("Environment")
            .field("endpoint", endpoint)
            .field("cache_dir", cache_dir)
            .field("token", token)
            .field("is_offline", is_offline)
            .field("proxies", proxies)
            .field("certificates", certificates)
            .field("patience", patience)
            .finish_non_exhaustive()
    }
}

fn expanded(value: &str, home_dir: Option<&Path>) -> PathBuf {
    match (value.strip_prefix("~/"), home_dir) {
        (Some(rest), Some(home_dir)) => home_dir.join(rest),
        _ => PathBuf::from(value),
    }
}

fn no_cache_dir() -> Error {
    Error::input("there is no home directory to keep downloaded files in").hint("set HF_HOME to a directory with enough space")
}

/// A token file that is absent or cannot be read is no token: public repositories need none.
fn read_token(path: &Path) -> Option<String> {
    let text = String::from_utf8(read_capped(&DISK, path, MAX_TOKEN_BYTES).ok()?).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}

fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Result<Environment> {
        let value = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        Environment::from_variables(&value)
    }

    #[test]
    fn the_cache_lies_where_huggingface_hub_has_it() {
        let cache_dir = |variables: &[(&str, &str)]| environment(variables).unwrap().cache_dir;
        assert_eq!(cache_dir(&[("HOME", "/h")]), Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(cache_dir(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        assert_eq!(cache_dir(&[("HOME", "/h"), ("HF_HOME", "~/hf")]), Path::new("/h/hf/hub"));
        assert_eq!(cache_dir(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
        assert_eq!(cache_dir(&[("HOME", "/h"), ("HF_HOME", "")]), Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(environment(&[]).unwrap_err().exit_status(), 2);
    }

    #[test]
    fn the_token_is_the_variables_or_the_files_and_is_never_shown() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().to_str().unwrap();
        assert_eq!(environment(&[("HF_HOME", path)]).unwrap().token, None);
        std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
        let of_file = environment(&[("HF_HOME", path)]).unwrap();
        assert_eq!(of_file.token, Some(Token::new("hf_file").unwrap()));
        assert_eq!(environment(&[("HF_HOME", path), ("HF_TOKEN", "hf_variable")]).unwrap().token, Some(Token::new("hf_variable").unwrap()));
        assert!(!format!("{of_file:?}").contains("hf_file"));
        let error = environment(&[("HF_HOME", path), ("HF_TOKEN", "hf_a\nb")]).unwrap_err();
        assert!(!error.to_string().contains("hf_a"), "{error}");
    }

    #[test]
    fn the_hub_is_asked_unless_offline_is_true() {
        let default = environment(&[("HOME", "/h")]).unwrap();
        assert!(default.endpoint == "https://huggingface.co" && !default.is_offline);
        let mirror = environment(&[("HOME", "/h"), ("HF_ENDPOINT", "https://mirror/"), ("HF_HUB_OFFLINE", "True")]).unwrap();
        assert!(mirror.endpoint == "https://mirror/" && mirror.is_offline);
        assert!(!environment(&[("HOME", "/h"), ("HF_HUB_OFFLINE", "0")]).unwrap().is_offline);
    }
}
