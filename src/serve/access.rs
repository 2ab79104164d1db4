//! Who may ask: the API key, compared in a time that tells nothing of it, and the media type that keeps other sites' pages out.

use super::api_error::ApiError;
use axum::http::{HeaderMap, StatusCode, header};

/// A key, by its hash: hashes are compared in constant time.
#[derive(Debug, Clone)]
pub(super) struct ApiKey(blake3::Hash);

impl ApiKey {
    pub fn new(key: &str) -> Self {
        Self(blake3::hash(key.as_bytes()))
    }

    /// Refuses a request that does not bring the key as `Authorization: Bearer KEY`.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let refused = |message: &str| Err(ApiError::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message));
        let Some(authorization) = headers.get(header::AUTHORIZATION) else {
            return refused("an API key is needed, in a header Authorization: Bearer KEY");
        };
        let (scheme, key) = authorization.as_bytes().split_at(authorization.len().min(7));
        match scheme.eq_ignore_ascii_case(b"Bearer ") && blake3::hash(key) == self.0 {
            true => Ok(()),
            false => refused("the API key is not the right one"),
        }
    }
}

/// Only `application/json`: no page of another site can send that without asking first, and nobody answers here when it asks.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    match kind.eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => {
            let message = format!("the content type is {kind:?}; send application/json");
            Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message))
        }
    }
}
