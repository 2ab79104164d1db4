//! Chat templates: from messages to the text and the ids that a model was tuned on. Owns where a template comes from and what it is
//! given; what Jinja may do is `environment`'s, what text becomes a special token `shield`'s.

mod budget;
mod built_in;
mod environment;
mod functions;
mod guard;
mod json;
mod message;
mod names;
mod nesting;
mod shield;

pub use message::Message;

use super::Tokenizer;
use crate::{Error, Result};
use built_in::{BUILT_IN, BuiltIn};
use serde_json::Value;
use shield::Shield;
use std::collections::BTreeMap;

/// Who can say something: names that templates know.
const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];
/// Tokens that a tokenizer_config.json names and templates use.
const TOKEN_NAMES: [&str; 4] = ["bos_token", "eos_token", "pad_token", "unk_token"];

/// How a model wants a chat written.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    /// By the names that templates use, such as `bos_token`.
    tokens: BTreeMap<String, String>,
    built_in: Option<BuiltIn>,
}

impl ChatTemplate {
    /// A Jinja template; `tokens` are texts of special tokens under the names that templates use, such as `bos_token`.
    ///
    /// # Errors
    /// The user's: text that is no template.
    pub fn new(source: &str, tokens: BTreeMap<String, String>) -> Result<Self> {
        let template = Self::unchecked(source, tokens);
        template.check()?;
        Ok(template)
    }

    fn unchecked(source: &str, tokens: BTreeMap<String, String>) -> Self {
        Self { source: source.to_owned(), tokens, built_in: None }
    }

    /// Refuses what is no template.
    ///
    /// # Errors
    /// The user's: text that is no template, or one that is too long or nests too deep.
    pub fn check(&self) -> Result<()> {
        environment::check(&self.source)
    }

    /// The template that is built in as `name`: `chatml`, `llama3`, `bitnet` or `plain`.
    ///
    /// # Errors
    /// The user's: another name.
    pub fn built_in(name: &str, tokenizer: &Tokenizer) -> Result<Self> {
        let Some(built_in) = BUILT_IN.iter().find(|template| template.name == name) else {
            let names = BUILT_IN.map(|template| template.name).join(", ");
            return Err(Error::input(format!("there is no chat template {name:?}")).hint(format!("there is {names}")));
        };
        Ok(Self { source: built_in.source.to_owned(), tokens: usual_tokens(tokenizer), built_in: Some(*built_in) })
    }

    /// The template of a model folder, from the text of chat_template.jinja and of tokenizer_config.json, as far as they are there; none if
    /// neither holds one. It is not looked at: who wants to use it asks [`Self::check`], who does not need not care what it is.
    ///
    /// # Errors
    /// The user's: a file that is not what it should be.
    pub fn of_files(jinja: Option<&str>, tokenizer_config: Option<&str>, tokenizer: &Tokenizer) -> Result<Option<Self>> {
        let config = tokenizer_config.map(serde_json::from_str::<Value>).transpose();
        let config = config.map_err(|error| Error::input(format!("tokenizer_config.json: {error}")))?.unwrap_or_default();
        let source = match jinja {
            Some(source) => Some(source),
            None => listed_source(&config["chat_template"])?,
        };
        let Some(source) = source else { return Ok(None) };
        let named = |name: &&str| Some(((*name).to_owned(), token_text(&config[*name])?.to_owned()));
        let mut tokens = usual_tokens(tokenizer);
        tokens.extend(TOKEN_NAMES.iter().filter_map(named));
        Ok(Some(Self::unchecked(source, tokens)))
    }

    /// Jinja, as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of `messages`; with `add_generation_prompt` it ends where the model's answer begins.
    ///
    /// # Errors
    /// The user's: a role that no template knows, messages that the template refuses, and a template that fails, runs on or grows without end.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        if let Some(message) = messages.iter().find(|message| !ROLES.contains(&message.role.as_str())) {
            return Err(Error::input(format!("the role {:?} of a message", message.role)).hint(format!("take one of {}", ROLES.join(", "))));
        }
        environment::render(&self.source, messages, add_generation_prompt, &self.tokens)
    }

    /// Token ids of `messages`, with the template's special tokens; what looks like one in a message is text.
    ///
    /// # Errors
    /// Those of [`Self::render`] and [`Tokenizer::encode`].
    pub fn encode(&self, tokenizer: &Tokenizer, messages: &[Message], add_generation_prompt: bool) -> Result<Vec<u32>> {
        let texts = messages.iter().map(|message| message.content.as_str()).chain([self.source.as_str()]);
        let shield = Shield::new(tokenizer, texts)?;
        let covered: Vec<_> = messages.iter().map(|message| Message::new(&message.role, shield.cover(&message.content))).collect();
        let mut ids = shield.encode(&self.render(&covered, add_generation_prompt)?)?;
        let opening = tokenizer.opening_id().filter(|id| self.built_in.is_some() && ids.first() != Some(id));
        ids.splice(0..0, opening);
        Ok(ids)
    }

    /// Tokens that end an answer under this template, beside those of the model.
    pub fn ending_ids(&self, tokenizer: &Tokenizer) -> Vec<u32> {
        let names = [self.tokens.get("eos_token").map(String::as_str), self.built_in.and_then(|template| template.ending)];
        let is_ending = |content: &str| names.contains(&Some(content));
        tokenizer.special_tokens().iter().filter(|token| is_ending(&token.content)).map(|token| token.id).collect()
    }

    /// Text that ends an answer under this template.
    pub fn stop_strings(&self) -> Vec<String> {
        self.built_in.and_then(|template| template.stop).map(str::to_owned).into_iter().collect()
    }
}

/// What opens and ends a text, by the tokenizer itself.
fn usual_tokens(tokenizer: &Tokenizer) -> BTreeMap<String, String> {
    let ids = [tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id()];
    let text_of = |id: u32| tokenizer.special_tokens().iter().find(|token| token.id == id).map(|token| token.content.clone());
    TOKEN_NAMES.iter().zip(ids).filter_map(|(name, id)| Some(((*name).to_owned(), text_of(id?)?))).collect()
}

/// A token as a text or as an object with its content.
fn token_text(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}

/// One template, or of several named ones that for plain chats.
fn listed_source(value: &Value) -> Result<Option<&str>> {
    match value {
        Value::Null => Ok(None),
        Value::String(source) => Ok(Some(source)),
        Value::Array(listed) => {
            let default = listed.iter().find(|entry| entry["name"] == "default").or(listed.first());
            let source = default.and_then(|entry| entry["template"].as_str());
            source.map(Some).ok_or_else(|| Error::input("tokenizer_config.json: `chat_template` lists no template"))
        }
        _ => Err(Error::input("tokenizer_config.json: `chat_template` is neither a text nor a list")),
    }
}

#[cfg(test)]
mod tests;
