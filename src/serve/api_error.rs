//! What a client is told when its request fails: the error object of the OpenAI API, with the status that belongs to it.

use crate::{Error, Fault};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Seconds after which a client may ask again when all places are taken.
const RETRY_AFTER: u64 = 1;

/// A failed request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
    /// The field that is wrong.
    param: Option<String>,
    code: Option<&'static str>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: Some(code) }
    }

    /// The request is wrong, and not one field of it.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into(), param: None, code: None }
    }

    /// Field `param` of the request is wrong.
    pub fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::bad_request(message) }
    }

    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub fn too_many(places: usize) -> Self {
        let message = format!("all {places} places are taken, waiting ones included; try again soon");
        Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", message)
    }

    pub fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_stopping", "the server is stopping")
    }

    /// For nobody: the connection is closed.
    pub fn client_left() -> Self {
        Self::bad_request("the client has left")
    }

    /// The model thread has ended without a word.
    pub fn no_model() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "model_failed", "the model failed; try again")
    }

    /// What went wrong while a text was computed: nothing that its request could change.
    pub fn model(error: &Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "model_failed", on_one_line(error))
    }

    /// What went wrong with field `param`, or with the server.
    pub fn of(error: &Error, param: &str) -> Self {
        match error.fault() {
            Fault::Input => Self::field(param, format!("{param}: {}", on_one_line(error))),
            Fault::Ours => Self::model(error),
        }
    }

    /// `{"error": {...}}`.
    pub fn body(&self) -> Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})
    }
}

fn on_one_line(error: &Error) -> String {
    error.to_string().replace("\nhint: ", "; hint: ")
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
