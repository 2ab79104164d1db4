//! Events of the model thread as a client gets them: all at once, or one by one as server-sent events.

use super::answer::{Choice, Form, Usage};
use super::api_error::ApiError;
use super::request::Asked;
use super::sequence::{Event, What};
use crate::inference::Engine;
use axum::Json;
use axum::response::sse::{Event as SentEvent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc::UnboundedReceiver;

/// Waits for all of an answer.
///
/// # Errors
/// What the first answer failed with; the others are given up.
pub(super) async fn whole(asked: &Asked, form: &Form, engine: &Engine, mut events: UnboundedReceiver<Event>) -> Result<Response, ApiError> {
    let echo = |index: usize| asked.echo(index).unwrap_or_default().to_owned();
    let mut choices: Vec<Choice> = (0..asked.num_texts()).map(|index| Choice { text: echo(index), ..Choice::default() }).collect();
    let mut usage = Usage { prompt_tokens: asked.num_prompt_tokens(), completion_tokens: 0 };
    while choices.iter().any(|choice| choice.ending.is_none()) {
        let Event { choice, what } = events.recv().await.ok_or_else(ApiError::no_model)?;
        let choice = choices.get_mut(choice).ok_or_else(ApiError::no_model)?;
        match what {
            What::Grown { text, token } => {
                choice.text += &text;
                choice.tokens.extend(token);
            }
            What::Over { ending, num_tokens } => {
                choice.ending = Some(ending);
                usage.completion_tokens += num_tokens;
            }
            What::Failed(error) => return Err(error),
        }
    }
    Ok(Json(form.whole(&choices, usage, &engine.tokenizer)).into_response())
}

/// The answer as it comes.
pub(super) fn streamed(asked: &Asked, form: Form, engine: Arc<Engine>, events: UnboundedReceiver<Event>) -> Response {
    let usage = Usage { prompt_tokens: asked.num_prompt_tokens(), completion_tokens: 0 };
    let count = asked.num_texts();
    let opening: Vec<Value> = (0..count).filter_map(|index| form.opening(index, asked.echo(index))).collect();
    let mut chunks = Chunks {
        ready: VecDeque::new(),
        num_unfinished: count,
        lengths: vec![0; count],
        usage: asked.has_usage.then_some(usage),
        is_over: false,
        form,
        engine,
        events,
    };
    opening.into_iter().for_each(|chunk| chunks.push(chunk));
    // Comments keep the connection alive while the request waits, and show soon that a client has left.
    Sse::new(chunks).keep_alive(KeepAlive::default()).into_response()
}

/// The chunks of a stream, then `[DONE]`; or an error, which ends it.
struct Chunks {
    form: Form,
    engine: Arc<Engine>,
    events: UnboundedReceiver<Event>,
    ready: VecDeque<SentEvent>,
    num_unfinished: usize,
    /// Characters of each answer so far.
    lengths: Vec<usize>,
    /// If it was asked for.
    usage: Option<Usage>,
    is_over: bool,
}

impl Stream for Chunks {
    type Item = Result<SentEvent, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            match ready!(self.events.poll_recv(context)) {
                Some(event) => self.add(event),
                None => self.fail(&ApiError::no_model()),
            }
        }
    }
}

impl Chunks {
    fn add(&mut self, Event { choice: index, what }: Event) {
        let (piece, is_last) = match what {
            What::Grown { text, token } => (Choice { text, tokens: token.into_iter().collect(), ending: None }, false),
            What::Over { ending, num_tokens } => {
                self.usage.iter_mut().for_each(|usage| usage.completion_tokens += num_tokens);
                (Choice { ending: Some(ending), ..Choice::default() }, true)
            }
            What::Failed(error) => return self.fail(&error),
        };
        let chunk = self.form.piece(index, &piece, &mut self.lengths[index], &self.engine.tokenizer);
        self.push(chunk);
        self.num_unfinished -= usize::from(is_last);
        if self.num_unfinished == 0 {
            self.finish();
        }
    }

    /// Where the count of tokens is asked for, every chunk but the last has the field without it.
    fn push(&mut self, mut chunk: Value) {
        if self.usage.is_some() {
            chunk["usage"] = Value::Null;
        }
        self.ready.push_back(SentEvent::default().data(chunk.to_string()));
    }

    fn finish(&mut self) {
        if let Some(usage) = self.usage {
            self.ready.push_back(SentEvent::default().data(self.form.usage_chunk(usage).to_string()));
        }
        self.ready.push_back(SentEvent::default().data("[DONE]"));
        self.is_over = true;
    }

    /// Nobody takes what has no `[DONE]` for whole.
    fn fail(&mut self, error: &ApiError) {
        self.ready.push_back(SentEvent::default().data(error.body().to_string()));
        self.is_over = true;
        self.events.close();
    }
}
