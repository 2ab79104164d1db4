//! Chats with an engine: the template of a model folder, and messages as the prompt that asks for an answer.

use super::engine::{Engine, read};
use crate::tokenizer::{ChatTemplate, Message};
use crate::{Context, Error, Result};
use std::path::Path;

impl Engine {
    /// Takes `template` for chats, and ends texts where it ends an answer.
    pub fn set_template(&mut self, template: ChatTemplate) {
        for id in template.ending_ids(&self.tokenizer) {
            if !self.endings.contains(&id) {
                self.endings.push(id);
            }
        }
        self.template = Some(template);
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

    /// With the template in the folder `dir`, if it has one.
    pub(super) fn with_template_of(self, dir: &Path) -> Result<Self> {
        let text_of = |name: &str| Some(dir.join(name)).filter(|path| path.is_file()).map(|path| read(&path)).transpose();
        let (jinja, config) = (text_of("chat_template.jinja")?, text_of("tokenizer_config.json")?);
        self.with_template(jinja.as_deref(), config.as_deref()).context(|| dir.display().to_string())
    }

    /// With the template of these texts, if they have one; see [`ChatTemplate::of_files`].
    pub(super) fn with_template(mut self, jinja: Option<&str>, tokenizer_config: Option<&str>) -> Result<Self> {
        let template = ChatTemplate::of_files(jinja, tokenizer_config, &self.tokenizer)?;
        template.into_iter().for_each(|template| self.set_template(template));
        Ok(self)
    }
}
