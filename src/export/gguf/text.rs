//! The text side of a GGUF file: the tokenizer in llama.cpp's keys and as the `tokenizer.json` that it came from, and the chat template.

use crate::gguf::Layout;
use crate::inference::StoredModel;
use crate::storage::{DISK, read_capped};
use crate::tokenizer::{ChatTemplate, GgmlVocabulary, TokenKind, Tokenizer, VocabularyModel};
use crate::{Context, Error, Result};
use std::path::Path;

/// Bytes of the largest file that is read.
const LARGEST_FILE: u64 = 64 << 20;

/// What llama.cpp calls a model without a tokenizer, which takes and gives ids.
const NO_TOKENIZER: &str = "none";

/// Adds what the folder of `model` says of texts; returns what may surprise.
///
/// # Errors
/// The user's: a damaged file, or a tokenizer with more tokens than the model.
pub(super) fn add_text(layout: &mut Layout, model: &StoredModel) -> Result<Vec<String>> {
    let Some(json) = text_of(model.dir(), "tokenizer.json")? else {
        layout.text("tokenizer.ggml.model", NO_TOKENIZER)?;
        return Ok(vec!["there is no tokenizer.json: programs can read the file, but no text with it".to_owned()]);
    };
    let path = model.dir().join("tokenizer.json");
    let tokenizer = Tokenizer::from_json(&json).context(|| path.display().to_string())?;
    let vocab_size = model.config().model.vocab_size;
    if tokenizer.vocab_size() > vocab_size {
        let message = format!("{}: {} tokens, but the model has {vocab_size}", path.display(), tokenizer.vocab_size());
        return Err(Error::input(message).hint("the files are of different models"));
    }
    layout.text("tokenizer.huggingface.json", &json)?;
    add_template(layout, model.dir(), &tokenizer)?;
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

fn add_template(layout: &mut Layout, dir: &Path, tokenizer: &Tokenizer) -> Result<()> {
    let (jinja, config) = (text_of(dir, "chat_template.jinja")?, text_of(dir, "tokenizer_config.json")?);
    let template = ChatTemplate::of_files(jinja.as_deref(), config.as_deref(), tokenizer).context(|| dir.display().to_string())?;
    let Some(template) = template else { return Ok(()) };
    template.check().context(|| dir.display().to_string())?;
    layout.text("tokenizer.chat_template", template.source())
}

/// The text of a file of the folder `dir`, if it is there.
fn text_of(dir: &Path, name: &str) -> Result<Option<String>> {
    let path = dir.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = read_capped(&DISK, &path, LARGEST_FILE).map_err(Error::blame_input)?;
    String::from_utf8(bytes).context(|| format!("reading {}", path.display())).map_err(Error::blame_input).map(Some)
}
