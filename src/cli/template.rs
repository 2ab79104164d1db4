//! Which chat template, where the model's own is not wanted or not there.

use crate::inference::Engine;
use crate::tokenizer::ChatTemplate;
use crate::{Context, Result};
use std::path::Path;

/// Which chat template.
#[derive(Debug, Clone, clap::Args)]
pub struct TemplateArguments {
    /// How chats are written: chatml, llama3, bitnet or plain; as the model says when absent
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
}

impl TemplateArguments {
    /// Gives `engine`, whose model lies at `path`, the template that was chosen, if one was; only else has the model's own to be one.
    ///
    /// # Errors
    /// The user's: a name that no template has; a model whose own template is none.
    pub fn apply(&self, engine: &mut Engine, path: &Path) -> Result<()> {
        match (&self.template, &engine.template) {
            (Some(name), _) => engine.set_template(ChatTemplate::built_in(name, &engine.tokenizer)?),
            (None, Some(own)) => own.check().context(|| path.display().to_string())?,
            (None, None) => {}
        }
        Ok(())
    }
}
