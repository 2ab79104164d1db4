//! From a prompt to a stream of text: one text's state between its tokens, which a server keeps for each of many. The loop for one is
//! `memory`'s.

use super::engine::Engine;
use super::stop_strings::StopStrings;
use crate::Result;
use crate::sampling::{LogProbabilities, Sampler, SamplingOptions, log_probabilities};
use crate::tokenizer::Stream;
use std::time::Duration;

/// What is generated, and until when.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationOptions {
    /// The most tokens that are added.
    pub max_new_tokens: usize,
    /// Text that ends the generation where it appears, and is not part of it.
    pub stop: Vec<String>,
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// Where there is a number, log-probabilities of the chosen token and of that many of the likeliest.
    pub num_log_probabilities: Option<usize>,
}

/// Why a generation is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The model ended its text.
    EndToken,
    /// A stop string appeared.
    StopString,
    /// As many tokens as were asked for.
    MaxNewTokens,
    /// The model's context is full.
    Context,
    /// Somebody asked to stop.
    Interrupted,
}

impl Ending {
    /// For programs, such as `end_token`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EndToken => "end_token",
            Self::StopString => "stop_string",
            Self::MaxNewTokens => "max_new_tokens",
            Self::Context => "context",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What one token adds.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Its id.
    pub token: u32,
    /// Text that can be shown now: never part of a character, nor what may be the beginning of a stop string. Often empty.
    pub text: String,
    /// If they were asked for.
    pub log_probabilities: Option<LogProbabilities>,
}

/// A text between two tokens.
#[derive(Debug)]
pub struct Continuation<'a> {
    options: GenerationOptions,
    endings: &'a [u32],
    stream: Option<Stream<'a>>, // none once the text is over
    stops: StopStrings,
    sampler: Sampler,
    num_tokens: usize,
    most_tokens: usize,
    ending: Option<Ending>,
}

impl<'a> Continuation<'a> {
    /// Before the first token behind `prompt`.
    ///
    /// # Errors
    /// The user's: an empty prompt, one beyond the model's context, or options that no token can be chosen with.
    pub fn new(engine: &'a Engine, prompt: &[u32], options: GenerationOptions) -> Result<Self> {
        options.sampling.validate()?;
        engine.check_prompt(prompt)?;
        let context = engine.model.config().max_position_embeddings;
        let mut sampler = Sampler::new(options.sampling);
        sampler.observe(prompt);
        Ok(Self {
            endings: &engine.endings,
            stream: Some(engine.tokenizer.stream()),
            stops: StopStrings::new(options.stop.iter().cloned()),
            sampler,
            num_tokens: 0,
            most_tokens: context + 1 - prompt.len(), // the last one is never read
            ending: (options.max_new_tokens == 0).then_some(Ending::MaxNewTokens),
            options,
        })
    }

    /// Chooses the next token from its logits. To be called until there is an [`Self::ending`].
    ///
    /// # Errors
    /// Those of [`Sampler::choose`].
    pub fn advance(&mut self, logits: &[f32]) -> Result<Piece> {
        let token = self.sampler.choose(logits)?;
        let log_probabilities = self.options.num_log_probabilities.and_then(|num_top| log_probabilities(logits, token, num_top));
        self.num_tokens += 1;
        let is_end = self.endings.contains(&token);
        let decoded = match &mut self.stream {
            Some(stream) if !is_end => stream.push(token),
            _ => String::new(),
        };
        let (mut text, is_stopped) = self.stops.push(&decoded);
        let ending = match () {
            () if is_end => Some(Ending::EndToken),
            () if is_stopped => Some(Ending::StopString),
            () if self.num_tokens >= self.options.max_new_tokens => Some(Ending::MaxNewTokens),
            () if self.num_tokens >= self.most_tokens => Some(Ending::Context),
            () => None,
        };
        if let Some(ending) = ending {
            text += &self.end(ending);
        }
        Ok(Piece { token, text, log_probabilities })
    }

    /// Ends the text for `ending`, unless it is over: what was held back of it.
    pub fn end(&mut self, ending: Ending) -> String {
        let Some(stream) = self.stream.take() else { return String::new() };
        self.ending = Some(ending);
        if ending == Ending::StopString {
            return String::new();
        }
        let (mut text, is_stopped) = self.stops.push(&stream.finish());
        if is_stopped {
            self.ending = Some(Ending::StopString);
        } else {
            text += &self.stops.finish();
        }
        text
    }

    /// Why the text is over, if it is.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Tokens that were chosen, the one that ended the text included.
    pub fn num_tokens(&self) -> usize {
        self.num_tokens
    }
}

/// What a generation was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Tokens of the prompt that were read: all but those that were remembered.
    pub num_prompt_tokens: usize,
    /// Tokens that were chosen, the one that ended the text included.
    pub num_tokens: usize,
    /// Reading the prompt, up to the first logits.
    pub prompt_time: Duration,
    /// The rest.
    pub generation_time: Duration,
    /// Why it was over.
    pub ending: Ending,
}
