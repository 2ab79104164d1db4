//! A model that can be asked: the model, its tokenizer, and the tokens that end a text.

use super::from_gguf::GgufModel;
use super::model::{LoadOptions, Model};
use super::source::Source;
use crate::storage::{DISK, read_capped};
use crate::tokenizer::ChatTemplate;
use crate::tokenizer::Tokenizer;
use crate::{Context, Error, Result};
use serde::Deserialize;
use std::path::Path;

/// Bytes of the largest tokenizer.json or generation_config.json that is read.
const LARGEST_FILE: u64 = 64 << 20;

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

/// How a model's makers choose its tokens, from generation_config.json; nothing where that does not say that tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SuggestedSampling {
    /// Divides the logits.
    pub temperature: Option<f64>,
    /// Only the likeliest so many are candidates.
    pub top_k: Option<usize>,
    /// Only the likeliest whose probabilities together reach this are candidates.
    pub top_p: Option<f64>,
}

/// The part of generation_config.json that is used here.
#[derive(Deserialize)]
struct GenerationConfig {
    eos_token_id: Option<Ids>,
    do_sample: Option<bool>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
}

/// One id or several, as transformers writes it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Several(Vec<u32>),
}

impl Engine {
    /// Loads the folder `path`: config.json, weights, tokenizer.json and, for the tokens that end a text, generation_config.json; without
    /// that file it is the tokenizer's. A chat template is in chat_template.jinja or tokenizer_config.json. Or loads the GGUF file `path`,
    /// which has all of that in it.
    ///
    /// # Errors
    /// The user's: a file is missing or damaged, or they do not fit each other.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self> {
        let source = Source::open(path)?;
        let (tokenizer, endings, sampling) = match &source {
            Source::Folder(..) => text_of_folder(path)?,
            Source::Gguf(model) => text_of_gguf(model)?,
        };
        let vocab_size = source.config().model.vocab_size;
        if tokenizer.vocab_size() > vocab_size {
            let message = format!("{}: the tokenizer has {} tokens, but the model {vocab_size}", path.display(), tokenizer.vocab_size());
            return Err(Error::input(message).hint("the files are of different models"));
        }
        let engine = Self { model: Model::of(&source, options)?, tokenizer, endings, template: None, sampling };
        let engine = match &source {
            Source::Folder(..) => engine.with_template_of(path)?,
            Source::Gguf(model) => engine.with_template(model.chat_template()?, None).context(|| path.display().to_string())?,
        };
        Ok(engine)
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

/// The tokenizer of the folder `dir`, the tokens that end a text, and how tokens are chosen.
fn text_of_folder(dir: &Path) -> Result<(Tokenizer, Vec<u32>, SuggestedSampling)> {
    let path = dir.join("tokenizer.json");
    let tokenizer = Tokenizer::from_json(&read(&path)?).context(|| path.display().to_string())?;
    let config = generation_config(dir)?;
    let sampling = config.as_ref().map(GenerationConfig::sampling).unwrap_or_default();
    let endings = config.and_then(GenerationConfig::endings).unwrap_or_else(|| Vec::from_iter(tokenizer.eos_id()));
    Ok((tokenizer, endings, sampling))
}

/// The tokenizer in a GGUF file, and the tokens that end a text.
fn text_of_gguf(model: &GgufModel) -> Result<(Tokenizer, Vec<u32>, SuggestedSampling)> {
    let tokenizer = model.tokenizer()?;
    let endings = Some(model.endings()?).filter(|endings| !endings.is_empty());
    let endings = endings.unwrap_or_else(|| Vec::from_iter(tokenizer.eos_id()));
    Ok((tokenizer, endings, SuggestedSampling::default()))
}

/// None where the folder does not say.
pub(super) fn endings(dir: &Path) -> Result<Option<Vec<u32>>> {
    Ok(generation_config(dir)?.and_then(GenerationConfig::endings))
}

fn generation_config(dir: &Path) -> Result<Option<GenerationConfig>> {
    let path = dir.join("generation_config.json");
    if !path.is_file() {
        return Ok(None);
    }
    let config = serde_json::from_str(&read(&path)?).map_err(|error| Error::input(format!("{}: {error}", path.display())))?;
    Ok(Some(config))
}

impl GenerationConfig {
    fn endings(self) -> Option<Vec<u32>> {
        self.eos_token_id.map(|ids| match ids {
            Ids::One(id) => vec![id],
            Ids::Several(ids) => ids,
        })
    }

    fn sampling(&self) -> SuggestedSampling {
        match self.do_sample {
            Some(true) => SuggestedSampling { temperature: self.temperature, top_k: self.top_k, top_p: self.top_p },
            _ => SuggestedSampling::default(),
        }
    }
}

pub(super) fn read(path: &Path) -> Result<String> {
    let bytes = read_capped(&DISK, path, LARGEST_FILE).map_err(Error::blame_input)?;
    String::from_utf8(bytes).context(|| format!("reading {}", path.display())).map_err(Error::blame_input)
}
