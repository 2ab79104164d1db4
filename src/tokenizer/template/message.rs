//! What one side says in a chat.

use serde::{Deserialize, Serialize};

/// A message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    pub role: String,
    /// Text; what looks like a special token in it is text.
    pub content: String,
}

impl Message {
    /// What `role` says.
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        Self { role: role.to_owned(), content: content.into() }
    }
}
