//! A model that can be asked: the model, its tokenizer, the tokens that end a text, and how it wants chats written.

use crate::folder::{GenerationConfig, ModelFolder, SuggestedSampling};
use crate::inference::layers::{LoadOptions, Model};
use crate::inference::stored::{GgufModel, Source};
use crate::tokenizer::{ChatTemplate, Message, Tokenizer};
use crate::{Context, Error, Result};
use std::path::Path;

/// A model with its text side.
#[derive(Debug)]
pub struct Engine {
    /// From tokens to logits.
    pub model: Model,
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    /// Tokens that end a text.
    pub endings: Vec<u32>,
    /// How the model wants chats written; none for a base model. To be changed by [`Engine::set_template`].
    pub template: Option<ChatTemplate>,
    /// How the model's makers choose its tokens, as far as they say.
    pub sampling: SuggestedSampling,
}

/// A model's text side: its tokenizer, the tokens that end a text, how tokens are chosen, and how chats are written.
type TextSide = (Tokenizer, Vec<u32>, SuggestedSampling, Option<ChatTemplate>);

impl Engine {
    /// Loads the folder `path`: config.json, weights, tokenizer.json and, for the tokens that end a text, generation_config.json; without
    /// that file it is the tokenizer's. A chat template is in chat_template.jinja or tokenizer_config.json. Or loads the GGUF file `path`,
    /// which has all of that in it.
    ///
    /// # Errors
    /// The user's: a file is missing or damaged, or they do not fit each other.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self> {
        let source = Source::open(path)?;
        let vocab_size = source.config().model.vocab_size;
        let (tokenizer, endings, sampling, template) = match &source {
            Source::Folder(..) => text_of_folder(&ModelFolder::new(path), vocab_size)?,
            Source::Gguf(model) => text_of_gguf(model, path, vocab_size)?,
        };
        let mut engine = Self { model: Model::of(&source, options)?, tokenizer, endings, template: None, sampling };
        template.into_iter().for_each(|template| engine.set_template(template));
        Ok(engine)
    }

    /// Takes `template` for chats, and ends texts where it ends an answer.
    pub fn set_template(&mut self, template: ChatTemplate) {
        for id in template.ending_ids(&self.tokenizer) {
            if !self.endings.contains(&id) {
                self.endings.push(id);
            }
        }
        self.template = Some(template);
    }

    /// Token ids of a prompt, opened as the tokenizer's file says that a text is.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::from_iter(self.tokenizer.opening_id());
        ids.extend(self.tokenizer.encode(text)?);
        Ok(ids)
    }

    /// Token ids of a chat, up to where the model's answer begins.
    ///
    /// # Errors
    /// The user's: a model without a template, and those of [`ChatTemplate::encode`].
    pub fn encode_chat(&self, messages: &[Message]) -> Result<Vec<u32>> {
        match &self.template {
            Some(template) => template.encode(&self.tokenizer, messages, true),
            None => Err(Error::input("the model has no chat template").hint("choose one, such as --template chatml")),
        }
    }

    /// Refuses what no text can begin with.
    ///
    /// # Errors
    /// The user's: an empty prompt, or one beyond the model's context.
    pub fn check_prompt(&self, prompt: &[u32]) -> Result<()> {
        let context = self.model.config().max_position_embeddings;
        if prompt.is_empty() {
            return Err(Error::input("the prompt is empty").hint("give at least one character"));
        }
        if prompt.len() > context {
            let message = format!("the prompt has {} tokens, more than the model's context of {context}", prompt.len());
            return Err(Error::input(message).hint("shorten the prompt"));
        }
        Ok(())
    }
}

fn text_of_folder(folder: &ModelFolder, vocab_size: usize) -> Result<TextSide> {
    let tokenizer = folder.tokenizer(vocab_size)?;
    let config = folder.generation()?;
    let sampling = config.as_ref().map(GenerationConfig::sampling).unwrap_or_default();
    let endings = config.as_ref().and_then(GenerationConfig::endings).unwrap_or_else(|| Vec::from_iter(tokenizer.eos_id()));
    let template = folder.chat_template(&tokenizer)?;
    Ok((tokenizer, endings, sampling, template))
}

fn text_of_gguf(model: &GgufModel, path: &Path, vocab_size: usize) -> Result<TextSide> {
    let tokenizer = model.tokenizer()?;
    if tokenizer.vocab_size() > vocab_size {
        let message = format!("the tokenizer has {} tokens, but the model {vocab_size}", tokenizer.vocab_size());
        return Err(model.error(message).hint("the files are of different models"));
    }
    let endings = Some(model.endings()?).filter(|endings| !endings.is_empty());
    let endings = endings.unwrap_or_else(|| Vec::from_iter(tokenizer.eos_id()));
    let template = ChatTemplate::of_files(model.chat_template()?, None, &tokenizer).context(|| path.display().to_string())?;
    Ok((tokenizer, endings, SuggestedSampling::default(), template))
}
