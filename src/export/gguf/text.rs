//! The text side of a GGUF file: the tokenizer in llama.cpp's keys and as the `tokenizer.json` that it came from, and the chat template.

use crate::folder::{ModelFolder, TOKENIZER};
use crate::gguf::Layout;
use crate::inference::StoredModel;
use crate::tokenizer::{GgmlVocabulary, TokenKind, Tokenizer, VocabularyModel};
use crate::{Context, Result};

/// What llama.cpp calls a model without a tokenizer, which takes and gives ids.
const NO_TOKENIZER: &str = "none";

/// Adds what the folder of `model` says of texts; returns what may surprise.
///
/// # Errors
/// The user's: a damaged file, or a tokenizer with more tokens than the model.
pub(super) fn add_text(layout: &mut Layout, model: &StoredModel) -> Result<Vec<String>> {
    let folder = ModelFolder::new(model.dir());
    let Some(json) = folder.text(TOKENIZER)? else {
        layout.text("tokenizer.ggml.model", NO_TOKENIZER)?;
        return Ok(vec!["there is no tokenizer.json: programs can read the file, but no text with it".to_owned()]);
    };
    let tokenizer = folder.tokenizer(model.config().model.vocab_size)?;
    layout.text("tokenizer.huggingface.json", &json)?;
    add_template(layout, &folder, &tokenizer)?;
    add_vocabulary(layout, model, &tokenizer)
}

fn add_vocabulary(layout: &mut Layout, model: &StoredModel, tokenizer: &Tokenizer) -> Result<Vec<String>> {
    let mut vocabulary = match GgmlVocabulary::of_tokenizer(tokenizer) {
        Ok(vocabulary) => vocabulary,
        Err(error) => {
            layout.text("tokenizer.ggml.model", NO_TOKENIZER)?;
            return Ok(vec![format!("{error}; only this program reads its tokenizer.json from the file")]);
        }
    };
    // Other programs count the rows of the embedding by the tokens.
    for id in vocabulary.tokens.len()..model.config().model.vocab_size {
        vocabulary.tokens.push(format!("[PAD{id}]"));
        vocabulary.kinds.push(TokenKind::Unused);
        if vocabulary.model == VocabularyModel::Scored {
            vocabulary.scores.push(0.0);
        }
    }
    layout.text("tokenizer.ggml.model", vocabulary.model.name())?;
    layout.text("tokenizer.ggml.pre", vocabulary.pre.as_deref().unwrap_or("default"))?;
    layout.texts("tokenizer.ggml.tokens", &vocabulary.tokens)?;
    layout.integers("tokenizer.ggml.token_type", &Vec::from_iter(vocabulary.kinds.iter().map(|kind| *kind as i32)))?;
    match vocabulary.model {
        VocabularyModel::Scored => layout.floats("tokenizer.ggml.scores", &vocabulary.scores)?,
        VocabularyModel::BytePair => layout.texts("tokenizer.ggml.merges", &vocabulary.merges)?,
    }
    add_ids(layout, model, &vocabulary)?;
    let rule = "llama.cpp has no name for how this tokenizer parts words, and may give other ids";
    Ok(if vocabulary.has_known_rule() { Vec::new() } else { vec![rule.to_owned()] })
}

fn add_ids(layout: &mut Layout, model: &StoredModel, vocabulary: &GgmlVocabulary) -> Result<()> {
    let endings = model.ending_ids()?;
    let eos = endings.first().copied().or(vocabulary.eos);
    let ids = [("bos", vocabulary.bos), ("eos", eos), ("eot", endings.get(1).copied()), ("unknown", vocabulary.unknown)];
    for (name, id) in ids.into_iter().chain([("padding", vocabulary.padding)]) {
        id.map(|id| layout.unsigned(&format!("tokenizer.ggml.{name}_token_id"), id)).transpose()?;
    }
    if let Some(adds_bos) = vocabulary.adds_bos {
        layout.boolean("tokenizer.ggml.add_bos_token", adds_bos)?;
    }
    if let Some(adds_space) = vocabulary.adds_space {
        layout.boolean("tokenizer.ggml.add_space_prefix", adds_space)?;
    }
    Ok(())
}

fn add_template(layout: &mut Layout, folder: &ModelFolder, tokenizer: &Tokenizer) -> Result<()> {
    let Some(template) = folder.chat_template(tokenizer)? else { return Ok(()) };
    template.check().context(|| folder.dir().display().to_string())?;
    layout.text("tokenizer.chat_template", template.source())
}
