//! What a request wants to be continued, first as it was sent, then in tokens. A text that cannot fit the context is refused by its
//! length, before the work of encoding it.

use super::api_error::ApiError;
use super::fields::{Fields, wrong};
use crate::inference::Engine;
use crate::tokenizer::Message;
use serde_json::Value;
use std::sync::Arc;

/// As it was sent.
#[derive(Debug)]
pub(super) enum Prompt {
    Text(String),
    Tokens(Arc<[u32]>),
    Chat(Vec<Message>),
}

impl Prompt {
    /// Bytes of text; tokens have none.
    pub fn num_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Tokens(_) => 0,
            Self::Chat(messages) => messages.iter().map(|message| message.content.len()).sum(),
        }
    }

    /// Its tokens; `param` is the field that it came in.
    pub fn encode(self, engine: &Engine, param: &str) -> Result<Arc<[u32]>, ApiError> {
        let tokens = match self {
            Self::Text(text) => engine.encode_prompt(&text),
            Self::Tokens(tokens) => return Ok(tokens),
            Self::Chat(messages) => engine.encode_chat(&messages),
        };
        tokens.map(Arc::from).map_err(|error| ApiError::of(&error, param))
    }

    /// Refuses what is more than `context` tokens, each of at most `most_bytes`.
    pub fn refuse_if_too_long(&self, context: usize, most_bytes: Option<usize>, param: &str) -> Result<(), ApiError> {
        let Some(limit) = most_bytes.map(|most_bytes| context.saturating_mul(most_bytes)) else { return Ok(()) };
        let num_bytes = self.num_bytes();
        match num_bytes <= limit {
            true => Ok(()),
            false => {
                let message = format!(
                    "{param}: {num_bytes} bytes of text are more than the context of {context} tokens can hold; shorten the prompt"
                );
                Err(ApiError::field(param, message).code("context_length_exceeded"))
            }
        }
    }
}

/// `prompt`: a text, several, the ids of one, or of several.
pub(super) fn of_completion(fields: &mut Fields) -> Result<Vec<Prompt>, ApiError> {
    const WANTED: &str = "a string, a list of strings, a list of token ids, or a list of such lists";
    let prompts = match fields.take("prompt") {
        None => return Err(ApiError::field("prompt", "prompt: it is missing").code("missing_required_parameter")),
        Some(Value::Array(items)) if items.is_empty() => return Err(ApiError::field("prompt", "prompt: the list is empty")),
        Some(Value::Array(items)) if items.iter().all(Value::is_number) => vec![Value::Array(items)],
        Some(Value::Array(items)) => items,
        Some(prompt) => vec![prompt],
    };
    let read = |prompt: Value| match prompt {
        Value::String(text) => Ok(Prompt::Text(text)),
        Value::Array(ids) => {
            let ids = ids.iter().map(|id| token_id(id).ok_or_else(|| wrong("prompt", "token ids", id)));
            ids.collect::<Result<Arc<[u32]>, _>>().map(Prompt::Tokens)
        }
        other => Err(wrong("prompt", WANTED, &other)),
    };
    prompts.into_iter().map(read).collect()
}

fn token_id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}
