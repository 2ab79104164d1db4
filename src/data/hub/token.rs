//! The secret that says who is asking the Hub.

use crate::{Error, Result};
use std::fmt;

/// A secret that says who is asking. It is in no message and in no file: `Debug` hides it and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token as the Hub gives them.
    ///
    /// # Errors
    /// Characters that a header cannot hold. The message does not show them.
    pub fn new(secret: &str) -> Result<Self> {
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::input("the Hub's token has characters that no token has").hint("look at HF_TOKEN and at $HF_HOME/token"));
        }
        Ok(Self(secret.to_owned()))
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(hidden)")
    }
}
