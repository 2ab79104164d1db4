//! What came of a request, in the shapes of the OpenAI API: one object, or the chunks of a stream.

use super::request::{Asked, Kind};
use super::sequence::TokenReport;
use crate::inference::{Ending, TokenLogProbability};
use crate::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// What all objects of an answer share.
#[derive(Debug)]
pub(super) struct Form {
    kind: Kind,
    id: String,
    created: u64,
    model: String,
}

/// One of the answers of a request, or a piece of one.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub text: String,
    /// Empty unless they were asked for.
    pub tokens: Vec<TokenReport>,
    /// Once it is over.
    pub ending: Option<Ending>,
}

/// Tokens of a request and its answers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
}

impl Usage {
    pub fn to_json(self) -> Value {
        let Self { prompt_tokens, completion_tokens } = self;
        let total_tokens = prompt_tokens + completion_tokens;
        json!({"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total_tokens})
    }
}

impl Form {
    pub fn new(asked: &Asked, model: &str) -> Self {
        let prefix = match asked.kind {
            Kind::Completion => "cmpl",
            Kind::Chat => "chatcmpl",
        };
        let id = format!("{prefix}-{:016x}", super::request::fresh_number());
        Self { kind: asked.kind, id, created: unix_seconds(), model: model.to_owned() }
    }

    /// The whole answer.
    pub fn whole(&self, choices: &[Choice], usage: Usage, tokenizer: &Tokenizer) -> Value {
        let choice = |(index, choice): (usize, &Choice)| {
            let finish_reason = choice.ending.map(finish_reason);
            let logprobs = self.log_probabilities(&choice.tokens, &mut 0, tokenizer);
            match self.kind {
                Kind::Completion => {
                    json!({"index": index, "text": choice.text, "logprobs": logprobs, "finish_reason": finish_reason})
                }
                Kind::Chat => {
                    let message = json!({"role": "assistant", "content": choice.text, "refusal": null});
                    json!({"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason})
                }
            }
        };
        let choices: Vec<Value> = choices.iter().enumerate().map(choice).collect();
        let object = match self.kind {
            Kind::Completion => "text_completion",
            Kind::Chat => "chat.completion",
        };
        let mut whole = self.object(object, choices);
        whole["usage"] = usage.to_json();
        whole
    }

    /// The chunk that opens answer `index` of a stream; `echo` stands in front of it.
    pub fn opening(&self, index: usize, echo: Option<&str>) -> Option<Value> {
        match self.kind {
            Kind::Chat => Some(self.chunk(json!({"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}))),
            Kind::Completion => echo.map(|echo| self.chunk(json!({"index": index, "text": echo, "logprobs": null, "finish_reason": null}))),
        }
    }

    /// The chunk of a stream that adds `piece` to answer `index`, which has `length` characters before it and afterwards.
    pub fn piece(&self, index: usize, piece: &Choice, length: &mut usize, tokenizer: &Tokenizer) -> Value {
        let finish_reason = piece.ending.map(finish_reason);
        let logprobs = self.log_probabilities(&piece.tokens, length, tokenizer);
        self.chunk(match self.kind {
            Kind::Completion => json!({"index": index, "text": piece.text, "logprobs": logprobs, "finish_reason": finish_reason}),
            Kind::Chat => {
                let delta = if piece.ending.is_some() { json!({}) } else { json!({"content": piece.text}) };
                json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason})
            }
        })
    }

    /// The chunk that ends a stream with the count of its tokens.
    pub fn usage_chunk(&self, usage: Usage) -> Value {
        let mut chunk = self.object(self.chunk_name(), Vec::new());
        chunk["usage"] = usage.to_json();
        chunk
    }

    fn chunk(&self, choice: Value) -> Value {
        self.object(self.chunk_name(), vec![choice])
    }

    fn chunk_name(&self) -> &'static str {
        match self.kind {
            Kind::Completion => "text_completion",
            Kind::Chat => "chat.completion.chunk",
        }
    }

    fn object(&self, object: &str, choices: Vec<Value>) -> Value {
        json!({"id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices})
    }

    /// Of tokens behind `length` characters, which grow by theirs; null if there are none.
    fn log_probabilities(&self, tokens: &[TokenReport], length: &mut usize, tokenizer: &Tokenizer) -> Value {
        match (tokens, self.kind) {
            ([], _) => Value::Null,
            (tokens, Kind::Chat) => chat_log_probabilities(tokens, tokenizer),
            (tokens, Kind::Completion) => completion_log_probabilities(tokens, length, tokenizer),
        }
    }
}

fn completion_log_probabilities(tokens: &[TokenReport], length: &mut usize, tokenizer: &Tokenizer) -> Value {
    let top = |report: &TokenReport| {
        let of = |it: &TokenLogProbability| (token_text(&tokenizer.content(it.token)), json!(it.log_probability));
        report.log_probabilities.top.iter().map(of).collect::<Map<String, Value>>()
    };
    let offset = |report: &TokenReport| {
        let offset = *length;
        *length += tokenizer.decode(&[report.token]).chars().count();
        offset
    };
    json!({
        "tokens": tokens.iter().map(|report| token_text(&tokenizer.content(report.token))).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|report| report.log_probabilities.chosen).collect::<Vec<_>>(),
        "top_logprobs": tokens.iter().map(top).collect::<Vec<_>>(),
        "text_offset": tokens.iter().map(offset).collect::<Vec<_>>(),
    })
}

fn chat_log_probabilities(tokens: &[TokenReport], tokenizer: &Tokenizer) -> Value {
    let entry = |token: u32, log_probability: f32| {
        let bytes = tokenizer.content(token);
        json!({"token": token_text(&bytes), "logprob": log_probability, "bytes": bytes})
    };
    let of = |report: &TokenReport| {
        let top: Vec<Value> = report.log_probabilities.top.iter().map(|it| entry(it.token, it.log_probability)).collect();
        let mut value = entry(report.token, report.log_probabilities.chosen);
        value["top_logprobs"] = json!(top);
        value
    };
    json!({"content": tokens.iter().map(of).collect::<Vec<_>>(), "refusal": null})
}

/// A token as text; a part of a character as OpenAI writes it: `bytes:\xe2\x98`.
fn token_text(bytes: &[u8]) -> String {
    let escaped = || bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    std::str::from_utf8(bytes).map_or_else(|_| format!("bytes:{}", escaped()), str::to_owned)
}

fn finish_reason(ending: Ending) -> &'static str {
    match ending {
        Ending::EndToken | Ending::StopString => "stop",
        Ending::MaxNewTokens | Ending::Context | Ending::Interrupted => "length",
    }
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
