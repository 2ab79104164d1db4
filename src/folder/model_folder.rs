//! Reading the files of a model folder: never more than a cap, and blaming the user for what is missing or damaged.

use super::generation::GenerationConfig;
use super::names::{CHAT_TEMPLATE, CONFIG, GENERATION_CONFIG, TOKENIZER, TOKENIZER_CONFIG};
use crate::config::{HuggingFaceConfig, LARGEST_CONFIG_JSON, ModelConfig};
use crate::storage::{DISK, read_capped};
use crate::tokenizer::{self, ChatTemplate, Tokenizer};
use crate::{Context, Error, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Bytes of the largest file that is read whole, config.json apart.
const LARGEST_FILE: u64 = tokenizer::LARGEST_FILE as u64;

/// A folder that holds a model.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    dir: PathBuf,
}

impl ModelFolder {
    /// The folder `dir`; nothing is read.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of its file `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What config.json says.
    ///
    /// # Errors
    /// The user's: the file is missing, damaged, or of a model that the decoder is not.
    pub fn config(&self) -> Result<HuggingFaceConfig> {
        let path = self.path(CONFIG);
        ModelConfig::from_hugging_face(&text_of(&path, LARGEST_CONFIG_JSON as u64)?, &path.display().to_string())
    }

    /// config.json as it is written.
    ///
    /// # Errors
    /// The user's: the file is missing or no JSON.
    pub fn config_json(&self) -> Result<Value> {
        let path = self.path(CONFIG);
        parsed(&path, &text_of(&path, LARGEST_CONFIG_JSON as u64)?)
    }

    /// The tokenizer in tokenizer.json, for a model of `vocab_size` rows.
    ///
    /// # Errors
    /// The user's: the file is missing, no tokenizer, or one with more tokens than rows.
    pub fn tokenizer(&self, vocab_size: usize) -> Result<Tokenizer> {
        let path = self.path(TOKENIZER);
        let tokenizer = Tokenizer::from_json(&read_text(&path)?).context(|| path.display().to_string())?;
        refuse_larger_vocabulary(&tokenizer, vocab_size).map_err(|error| error.context(path.display()))?;
        Ok(tokenizer)
    }

    /// What generation_config.json says, if it is there.
    ///
    /// # Errors
    /// The user's: the file is damaged.
    pub fn generation(&self) -> Result<Option<GenerationConfig>> {
        self.text(GENERATION_CONFIG)?.map(|text| parsed(&self.path(GENERATION_CONFIG), &text)).transpose()
    }

    /// How chats with the model are written; none for a base model. It lies in chat_template.jinja or tokenizer_config.json.
    ///
    /// # Errors
    /// The user's: a damaged file, or a template that is none.
    pub fn chat_template(&self, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>> {
        let (jinja, config) = (self.text(CHAT_TEMPLATE)?, self.text(TOKENIZER_CONFIG)?);
        ChatTemplate::of_files(jinja.as_deref(), config.as_deref(), tokenizer).context(|| self.dir.display().to_string())
    }

    /// The text of the file `name`, if it is there.
    ///
    /// # Errors
    /// The user's: the file is too long, or no text.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        Some(self.path(name)).filter(|path| path.is_file()).map(|path| read_text(&path)).transpose()
    }
}

/// The bytes of a file of a model folder.
///
/// # Errors
/// The user's: the file is missing or too long.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    read_capped(&DISK, path, LARGEST_FILE).map_err(Error::blame_input)
}

/// The text of a file of a model folder.
///
/// # Errors
/// The user's: the file is missing, too long, or no text.
pub fn read_text(path: &Path) -> Result<String> {
    text_of(path, LARGEST_FILE)
}

/// Refuses a tokenizer with more tokens than the model has rows.
///
/// # Errors
/// The user's.
pub fn refuse_larger_vocabulary(tokenizer: &Tokenizer, vocab_size: usize) -> Result<()> {
    match tokenizer.vocab_size() {
        tokens if tokens <= vocab_size => Ok(()),
        tokens => {
            let message = format!("{tokens} tokens, but config.json has vocab_size {vocab_size}");
            Err(Error::input(message).hint("the files are of different models"))
        }
    }
}

fn text_of(path: &Path, limit: u64) -> Result<String> {
    let bytes = read_capped(&DISK, path, limit).map_err(Error::blame_input)?;
    String::from_utf8(bytes).context(|| format!("reading {}", path.display())).map_err(Error::blame_input)
}

fn parsed<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::input(format!("{}: {error}", path.display())))
}
