//! The text side of a model folder: tokenizer, generation settings, chat template. What the source has is copied byte for byte; what
//! transformers needs and the source lacks is derived from its tokenizer.json.

use crate::config::HuggingFaceConfig;
use crate::folder::{
    CHAT_TEMPLATE, GENERATION_CONFIG, ModelFolder, TOKENIZER, TOKENIZER_CONFIG, generation_json, read_file, refuse_larger_vocabulary,
};
use crate::inference::StoredModel;
use crate::tokenizer::Tokenizer;
use crate::{Context, Error, Result};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Copied where they are.
const COPIED: [&str; 7] = [
    TOKENIZER_CONFIG,
    GENERATION_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    CHAT_TEMPLATE,
    "chat_template.json",
    "tokenizer.model",
];

/// Prompts of the models that are made here, by what they were trained on; the first that a tokenizer reads is for its model.
const PROMPTS: [&str; 4] = ["Once upon a time", "25 + 17 =", "once upon a time", "1 + 2"];
/// Tokens that a prompt is made of where none of [`PROMPTS`] can be read.
const FIRST_TOKENS: std::ops::Range<u32> = 4..12;

/// A file by name.
pub(super) type TextFile = (String, Vec<u8>);

/// The text side of `model`, beside its weights or, of a GGUF file, within; `tokenizer` is a tokenizer.json to be taken in place of it.
///
/// # Errors
/// The user's: a file that cannot be read, a tokenizer that is none or has more tokens than the model has rows.
pub(super) fn text_files(model: &StoredModel, tokenizer: Option<&Path>) -> Result<Vec<TextFile>> {
    let (folder, config) = (ModelFolder::new(model.dir()), model.config());
    let mut files: Vec<TextFile> = Vec::new();
    for name in COPIED.into_iter().filter(|name| folder.path(name).is_file()) {
        files.push((name.to_owned(), read_file(&folder.path(name))?));
    }
    let holds = |files: &[TextFile], name: &str| files.iter().any(|(held, _)| held == name);
    if !holds(&files, GENERATION_CONFIG) {
        let endings = model.ending_ids()?;
        let eos = if endings.is_empty() { json!(config.tokens.eos) } else { json!(endings) };
        files.push(pretty(GENERATION_CONFIG, &generation_json(config.tokens.bos, &eos))?);
    }
    files.extend(model.chat_template_inside()?.map(|template| (CHAT_TEMPLATE.to_owned(), template.as_bytes().to_vec())));
    let path = tokenizer.map_or_else(|| folder.path(TOKENIZER), Path::to_owned);
    let json = match tokenizer.is_some() || path.is_file() {
        true => Some(read_file(&path)?),
        false => model.tokenizer_inside()?.map(String::into_bytes),
    };
    if let Some(json) = json {
        let tokenizer_config = checked(&json, config).context(|| path.display().to_string()).map_err(Error::blame_input)?;
        if !holds(&files, TOKENIZER_CONFIG) {
            files.push(pretty(TOKENIZER_CONFIG, &tokenizer_config)?);
        }
        files.push((TOKENIZER.to_owned(), json));
    }
    Ok(files)
}

/// A prompt that the tokenizer among `files` can read; the first one where there is none.
pub(super) fn example_prompt(files: &[TextFile]) -> Result<String> {
    let Some((_, json)) = files.iter().find(|(name, _)| name == TOKENIZER) else { return Ok(PROMPTS[0].to_owned()) };
    let tokenizer = Tokenizer::from_json(str::from_utf8(json).context(|| "reading the tokenizer as text")?)?;
    let is_read = |prompt: &&str| tokenizer.encode(prompt).is_ok_and(|ids| tokenizer.decode(&ids).trim() == *prompt);
    let found = PROMPTS.iter().copied().find(is_read).map(str::to_owned);
    let made = || tokenizer.decode(&FIRST_TOKENS.collect::<Vec<_>>()).chars().filter(|character| !character.is_control()).collect();
    Ok(found.unwrap_or_else(made))
}

fn pretty(name: &str, value: &Value) -> Result<TextFile> {
    Ok((name.to_owned(), serde_json::to_vec_pretty(value)?))
}

/// The tokenizer_config.json that makes transformers load this tokenizer.json.
fn checked(json: &[u8], config: &HuggingFaceConfig) -> Result<Value> {
    let text = str::from_utf8(json).context(|| "reading it as text")?;
    let tokenizer = Tokenizer::from_json(text)?;
    refuse_larger_vocabulary(&tokenizer, config.model.vocab_size)?;
    let value: Value = serde_json::from_str(text).context(|| "reading it as JSON")?;
    let mut entries = Map::from_iter([
        ("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast")),
        ("clean_up_tokenization_spaces".to_owned(), json!(false)),
        ("model_max_length".to_owned(), json!(config.model.max_position_embeddings)),
    ]);
    let roles = [("pad_token", tokenizer.pad_id()), ("bos_token", tokenizer.bos_id()), ("eos_token", tokenizer.eos_id())];
    for (role, id) in roles {
        let token = id.and_then(|id| added_token(&value, id));
        entries.extend(token.map(|token| (role.to_owned(), json!(token))));
    }
    Ok(Value::Object(entries))
}

fn added_token(file: &Value, id: u32) -> Option<&str> {
    let token = file["added_tokens"].as_array()?.iter().find(|token| token["id"] == id)?;
    token["content"].as_str()
}
