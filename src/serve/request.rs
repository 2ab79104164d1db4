//! What a client asks for: the fields of both APIs, read and checked, then as tokens to continue. What is not supported and would change
//! the answer is refused; what changes nothing is passed over.

use super::ServeOptions;
use super::api_error::ApiError;
use super::fields::{Fields, wrong};
use super::messages;
use super::prompts::{self, Prompt};
use crate::inference::{Engine, GenerationOptions, SamplingOptions};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Choices of one prompt.
const MOST_CHOICES: usize = 16;
/// Stop strings of a request, and bytes of each.
const MOST_STOPS: usize = 16;
const LONGEST_STOP: usize = 1024;
/// The likeliest tokens that are listed for each token.
const MOST_LOG_PROBABILITIES: usize = 20;
/// New tokens of a completion that does not say how many, as in OpenAI's API.
const DEFAULT_COMPLETION_TOKENS: usize = 16;

/// Which API is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `/v1/completions`: a text goes on.
    Completion,
    /// `/v1/chat/completions`: a conversation does.
    Chat,
}

/// What limits a request.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub model_name: String,
    /// Tokens of a text, prompt and answer together.
    pub context: usize,
    /// Bytes of text that a token can stand for, if that is known.
    most_bytes_of_a_token: Option<usize>,
    /// New tokens.
    pub max_tokens: usize,
    /// Texts.
    pub places: usize,
}

/// A request whose prompts are as they were sent.
#[derive(Debug)]
pub(super) struct Draft {
    prompts: Vec<Prompt>,
    /// Whether the prompts are to stand in front of the answers.
    is_echoed: bool,
    /// All but the prompts.
    asked: Asked,
}

/// A request that can be answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub kind: Kind,
    pub prompts: Vec<Arc<[u32]>>,
    /// Of each prompt.
    pub num_choices: usize,
    /// Of the first choice; each further one has the next seed.
    pub options: GenerationOptions,
    pub is_stream: bool,
    /// Whether a stream ends with the count of its tokens.
    pub has_usage: bool,
    /// What stands in front of each answer: the prompts, if they are to be repeated.
    pub echoes: Option<Vec<String>>,
}

impl Limits {
    pub fn new(engine: &Engine, options: &ServeOptions) -> Self {
        let longest = engine.model.config().max_position_embeddings;
        let context = options.context.map_or(longest, |context| context.min(longest));
        Self {
            model_name: options.model_name.clone(),
            context,
            most_bytes_of_a_token: engine.tokenizer.most_bytes_of_a_token(),
            max_tokens: options.max_tokens.unwrap_or(usize::MAX),
            places: options.places(),
        }
    }

    /// For a client that asks for another model.
    pub fn no_such_model(&self, name: &str) -> ApiError {
        let message = format!("model: there is no {name:?}; this server has {:?}", self.model_name);
        ApiError::field("model", message).status(StatusCode::NOT_FOUND).code("model_not_found")
    }
}

impl Draft {
    /// Reads a request's body, and checks all that can be checked without its tokens.
    ///
    /// # Errors
    /// Status 400 or 404, with the field.
    pub fn read(kind: Kind, body: &[u8], engine: &Engine, limits: &Limits) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        if let Some(model) = fields.text("model")?.filter(|model| *model != limits.model_name) {
            return Err(limits.no_such_model(&model));
        }
        let prompts = match kind {
            Kind::Completion => prompts::of_completion(&mut fields)?,
            Kind::Chat => vec![Prompt::Chat(messages::read(&mut fields, engine)?)],
        };
        let num_choices = fields.count("n", 1..=MOST_CHOICES)?.unwrap_or(1);
        let is_echoed = kind == Kind::Completion && fields.boolean("echo")?.unwrap_or(false);
        let is_stream = fields.boolean("stream")?.unwrap_or(false);
        let has_usage = read_stream_options(&mut fields, is_stream)?;
        let mut options = read_options(kind, &mut fields, limits)?;
        if let (Kind::Chat, Some(template)) = (kind, &engine.template) {
            options.stop.extend(template.stop_strings());
        }
        refuse_others(kind, &mut fields, num_choices)?;
        fields.finish()?;
        if is_echoed && options.num_log_probabilities.is_some() {
            return Err(ApiError::field("echo", "echo: not together with logprobs").code("unsupported_parameter"));
        }
        let asked = Asked { kind, prompts: Vec::new(), num_choices, options, is_stream, has_usage, echoes: None };
        let draft = Self { prompts, is_echoed, asked };
        draft.refuse_too_much(limits)?;
        Ok(draft)
    }

    /// The answers that are asked for.
    pub fn num_texts(&self) -> usize {
        self.prompts.len() * self.asked.num_choices
    }

    /// Bytes of text of all prompts.
    pub fn num_bytes(&self) -> usize {
        self.prompts.iter().map(Prompt::num_bytes).sum()
    }

    fn refuse_too_much(&self, limits: &Limits) -> Result<(), ApiError> {
        let param = self.asked.kind.prompt_field();
        if self.num_texts() > limits.places {
            let message = format!("{} texts at once are more than the {} that this server has places for", self.num_texts(), limits.places);
            return Err(ApiError::field(param, message));
        }
        self.prompts.iter().try_for_each(|prompt| prompt.refuse_if_too_long(limits.context, limits.most_bytes_of_a_token, param))
    }

    /// Encodes the prompts, which takes long for long ones; between two of them it is asked whether the answer is still wanted.
    ///
    /// # Errors
    /// Status 400, with the field.
    pub fn encode(self, engine: &Engine, limits: &Limits, is_wanted: &dyn Fn() -> bool) -> Result<Asked, ApiError> {
        let Self { prompts, is_echoed, mut asked } = self;
        for prompt in prompts {
            if !is_wanted() {
                return Err(ApiError::client_left());
            }
            asked.prompts.push(prompt.encode(engine, asked.kind.prompt_field())?);
        }
        asked.refuse_misfits(engine, limits)?;
        asked.echoes = is_echoed.then(|| asked.prompts.iter().map(|prompt| engine.tokenizer.decode(prompt)).collect());
        Ok(asked)
    }
}

impl Asked {
    /// The answers that are asked for.
    pub fn num_texts(&self) -> usize {
        self.prompts.len() * self.num_choices
    }

    /// What stands in front of answer `index`.
    pub fn echo(&self, index: usize) -> Option<&str> {
        self.echoes.as_ref()?.get(index / self.num_choices).map(String::as_str)
    }

    /// Tokens of all prompts; one that has several answers counts once.
    pub fn num_prompt_tokens(&self) -> usize {
        self.prompts.iter().map(|prompt| prompt.len()).sum()
    }

    fn refuse_misfits(&self, engine: &Engine, limits: &Limits) -> Result<(), ApiError> {
        let param = self.kind.prompt_field();
        let (context, vocab_size) = (limits.context, engine.model.config().vocab_size);
        for prompt in &self.prompts {
            if prompt.is_empty() {
                return Err(ApiError::field(param, format!("{param}: the prompt is empty; give at least one character")));
            }
            if prompt.len() > context {
                let message = format!("{param}: {} tokens are more than the context of {context}; shorten the prompt", prompt.len());
                return Err(ApiError::field(param, message).code("context_length_exceeded"));
            }
            if let Some(token) = prompt.iter().find(|&&token| token as usize >= vocab_size) {
                return Err(ApiError::field(param, format!("{param}: token {token} is not in the vocabulary of {vocab_size}")));
            }
        }
        Ok(())
    }
}

impl Kind {
    /// The field that holds what is to be continued.
    pub fn prompt_field(self) -> &'static str {
        match self {
            Self::Completion => "prompt",
            Self::Chat => "messages",
        }
    }
}

/// Whether `stream_options` ask for the count of tokens.
fn read_stream_options(fields: &mut Fields, is_stream: bool) -> Result<bool, ApiError> {
    let Some(value) = fields.take("stream_options") else { return Ok(false) };
    if !is_stream {
        return Err(ApiError::field("stream_options", "stream_options: only together with stream: true"));
    }
    let mut options = Fields::of(value, "stream_options.")?;
    let has_usage = options.boolean("include_usage")?.unwrap_or(false);
    options.refuse_unless("include_obfuscation", &[json!(false)])?;
    options.finish()?;
    Ok(has_usage)
}

fn read_options(kind: Kind, fields: &mut Fields, limits: &Limits) -> Result<GenerationOptions, ApiError> {
    let sampling = SamplingOptions {
        temperature: fields.number("temperature")?.unwrap_or(1.0),
        top_k: fields.count("top_k", 0..=usize::MAX)?.unwrap_or(0),
        top_p: fields.number("top_p")?.unwrap_or(1.0),
        min_p: fields.number("min_p")?.unwrap_or(0.0),
        repetition_penalty: fields.number("repetition_penalty")?.unwrap_or(1.0),
        seed: fields.seed("seed")?.unwrap_or_else(fresh_number),
    };
    refuse_bad_sampling(&sampling)?;
    let least = usize::from(kind == Kind::Chat);
    let mut max_tokens = fields.count("max_tokens", least..=limits.max_tokens)?;
    let default = match kind {
        Kind::Chat => {
            max_tokens = fields.count("max_completion_tokens", least..=limits.max_tokens)?.or(max_tokens);
            limits.context
        }
        Kind::Completion => DEFAULT_COMPLETION_TOKENS,
    };
    Ok(GenerationOptions {
        max_new_tokens: max_tokens.unwrap_or(default.min(limits.max_tokens)),
        stop: read_stops(fields)?,
        sampling,
        num_log_probabilities: read_log_probabilities(kind, fields)?,
    })
}

/// Each number by itself, so that the error can name its field.
fn refuse_bad_sampling(sampling: &SamplingOptions) -> Result<(), ApiError> {
    let SamplingOptions { temperature, top_p, min_p, repetition_penalty, .. } = *sampling;
    let greedy = SamplingOptions::GREEDY;
    let alone = [
        ("temperature", SamplingOptions { temperature, ..greedy }),
        ("top_p", SamplingOptions { top_p, ..greedy }),
        ("min_p", SamplingOptions { min_p, ..greedy }),
        ("repetition_penalty", SamplingOptions { repetition_penalty, ..greedy }),
    ];
    alone.iter().try_for_each(|(name, options)| options.validate().map_err(|error| ApiError::field(*name, error.to_string())))
}

/// `stop`: a string or several.
fn read_stops(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let stops = match fields.take("stop") {
        None => return Ok(Vec::new()),
        Some(Value::Array(stops)) => stops,
        Some(stop) => vec![stop],
    };
    if stops.len() > MOST_STOPS {
        return Err(ApiError::field("stop", format!("stop: {} strings, at most {MOST_STOPS} are looked for", stops.len())));
    }
    let text = |stop: &Value| match stop {
        Value::String(stop) if stop.is_empty() || stop.len() > LONGEST_STOP => {
            Err(ApiError::field("stop", format!("stop: a string of {} bytes; it must be 1 to {LONGEST_STOP}", stop.len())))
        }
        Value::String(stop) => Ok(stop.clone()),
        other => Err(wrong("stop", "a string or a list of strings", other)),
    };
    stops.iter().map(text).collect()
}

fn read_log_probabilities(kind: Kind, fields: &mut Fields) -> Result<Option<usize>, ApiError> {
    if kind == Kind::Completion {
        return fields.count("logprobs", 0..=MOST_LOG_PROBABILITIES);
    }
    let is_wanted = fields.boolean("logprobs")?.unwrap_or(false);
    let top = fields.count("top_logprobs", 0..=MOST_LOG_PROBABILITIES)?;
    match (is_wanted, top) {
        (false, Some(1..)) => Err(ApiError::field("top_logprobs", "top_logprobs: only together with logprobs: true")),
        (false, _) => Ok(None),
        (true, top) => Ok(Some(top.unwrap_or(0))),
    }
}

/// The rest of OpenAI's fields.
fn refuse_others(kind: Kind, fields: &mut Fields, num_choices: usize) -> Result<(), ApiError> {
    let changes_nothing = [
        "metadata",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    ];
    changes_nothing.iter().for_each(|name| drop(fields.take(name)));
    fields.refuse_unless("frequency_penalty", &[json!(0)])?;
    fields.refuse_unless("presence_penalty", &[json!(0)])?;
    fields.refuse_unless("logit_bias", &[json!({})])?;
    if kind == Kind::Completion {
        fields.refuse_unless("best_of", &[json!(1), json!(num_choices)])?;
        return fields.refuse_unless("suffix", &[json!("")]);
    }
    fields.refuse_unless("tools", &[json!([])])?;
    fields.refuse_unless("tool_choice", &[json!("none"), json!("auto")])?;
    fields.refuse_unless("functions", &[json!([])])?;
    fields.refuse_unless("function_call", &[json!("none"), json!("auto")])?;
    fields.refuse_unless("response_format", &[json!({"type": "text"})])?;
    fields.refuse_unless("modalities", &[json!(["text"])])?;
    ["audio", "reasoning_effort", "verbosity", "web_search_options"].iter().try_for_each(|name| fields.refuse_unless(name, &[]))
}

/// A number that nobody can foresee.
pub(super) fn fresh_number() -> u64 {
    RandomState::new().hash_one(0)
}
