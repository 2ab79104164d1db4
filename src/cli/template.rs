//! Which chat template, where the model's own is not wanted or not there.

use crate::Result;
use crate::inference::Engine;
use crate::tokenizer::ChatTemplate;

/// Which chat template.
#[derive(Debug, Clone, clap::Args)]
pub struct TemplateArguments {
    /// How chats are written: chatml, llama3, bitnet or plain; as the model says when absent
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
}

impl TemplateArguments {
    /// Gives `engine` the template that was chosen, if one was.
    ///
    /// # Errors
    /// The user's: a name that no template has.
    pub fn apply(&self, engine: &mut Engine) -> Result<()> {
        if let Some(name) = &self.template {
            engine.set_template(ChatTemplate::built_in(name, &engine.tokenizer)?);
        }
        Ok(())
    }
}
