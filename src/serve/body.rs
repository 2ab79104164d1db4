//! The body of a request, within its limits of size and time.

use super::api_error::ApiError;
use axum::body::Body;
use axum::http::StatusCode;
use futures_core::Stream;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;

/// How long a client may take to send it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of a body that is too long, so many times the limit is read on, for a client looks at the answer only when all is sent.
const DISCARDED: usize = 16;

/// Reads up to `limit` bytes.
///
/// # Errors
/// Status 413 for a longer body, 408 for a slow one, 400 for one that breaks off.
pub(super) async fn read(body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let too_slow = || ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", format!("the body took more than {} s", PATIENCE.as_secs()));
    timeout(PATIENCE, read_all(body, limit)).await.map_err(|_| too_slow())?
}

async fn read_all(body: Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut length) = (Vec::new(), 0_usize);
    while let Some(chunk) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
        let chunk = chunk.map_err(|error| ApiError::bad_request(format!("the body breaks off: {error}")))?;
        length = length.saturating_add(chunk.len());
        match length <= limit {
            true => bytes.extend_from_slice(&chunk),
            false if length > limit.saturating_mul(DISCARDED) => break,
            false => bytes = Vec::new(),
        }
    }
    match length <= limit {
        true => Ok(bytes),
        false => {
            let message = format!("the body is longer than the {limit} bytes that this server reads");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message))
        }
    }
}
