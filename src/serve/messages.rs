//! The conversation of a chat request, of which its model's template will make a prompt.

use super::api_error::ApiError;
use super::fields::{Fields, wrong};
use crate::inference::Engine;
use crate::tokenizer::Message;
use serde_json::Value;

/// Messages of a request.
const MOST_MESSAGES: usize = 4096;

/// The field `messages`, for a model that has a template.
pub(super) fn read(fields: &mut Fields, engine: &Engine) -> Result<Vec<Message>, ApiError> {
    if engine.template.is_none() {
        let message = "this model has no chat template; start the server with --template, such as --template plain, or use /v1/completions";
        return Err(ApiError::bad_request(message).code("no_chat_template"));
    }
    let messages = match fields.take("messages") {
        None => return Err(ApiError::field("messages", "messages: they are missing").code("missing_required_parameter")),
        Some(Value::Array(messages)) if (1..=MOST_MESSAGES).contains(&messages.len()) => messages,
        Some(Value::Array(messages)) => {
            let message = format!("messages: {} of them; there must be 1 to {MOST_MESSAGES}", messages.len());
            return Err(ApiError::field("messages", message));
        }
        Some(other) => return Err(wrong("messages", "a list", &other)),
    };
    let read = |(index, message): (usize, Value)| read_message(message, &format!("messages[{index}]."));
    messages.into_iter().enumerate().map(read).collect()
}

fn read_message(message: Value, prefix: &str) -> Result<Message, ApiError> {
    let mut fields = Fields::of(message, prefix)?;
    let missing = |name: &str| ApiError::field(format!("{prefix}{name}"), format!("{prefix}{name}: it is missing"));
    let role = fields.text("role")?.ok_or_else(|| missing("role"))?;
    let content = match fields.take("content") {
        None => return Err(missing("content")),
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => {
            let read = |(index, part): (usize, Value)| read_part(part, &format!("{prefix}content[{index}]."));
            parts.into_iter().enumerate().map(read).collect::<Result<String, _>>()?
        }
        Some(other) => return Err(wrong(&format!("{prefix}content"), "a string or a list of parts", &other)),
    };
    // Templates know no names; the others come back from answers of this API.
    ["name", "annotations", "refusal"].iter().for_each(|name| drop(fields.take(name)));
    for name in ["tool_calls", "tool_call_id", "function_call", "audio"] {
        fields.refuse_unless(name, &[Value::Array(Vec::new())])?;
    }
    fields.finish()?;
    Ok(Message { role, content })
}

/// A part of a message, which must be text.
fn read_part(part: Value, prefix: &str) -> Result<String, ApiError> {
    let mut fields = Fields::of(part, prefix)?;
    let kind = fields.text("type")?.unwrap_or_default();
    if kind != "text" {
        let path = format!("{prefix}type");
        let message = format!("{path}: {kind:?} is not supported by this server; send text");
        return Err(ApiError::field(path, message).code("unsupported_parameter"));
    }
    let text = fields.text("text")?.ok_or_else(|| ApiError::field(format!("{prefix}text"), format!("{prefix}text: it is missing")))?;
    fields.finish()?;
    Ok(text)
}
