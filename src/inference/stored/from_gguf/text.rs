//! The text side of a GGUF file: its tokenizer, the tokens that end a text, and its chat template.

use super::model::GgufModel;
use crate::tokenizer::Tokenizer;
use crate::{Context, Result};

/// The whole `tokenizer.json`, where the writer had one.
const TOKENIZER_JSON_KEY: &str = "tokenizer.huggingface.json";
/// Keys of tokens that end a text or a turn.
const ENDING_KEYS: [&str; 3] = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

impl GgufModel {
    /// Text to ids and back: the `tokenizer.json` that is in the file, else what its tokens and merges make.
    ///
    /// # Errors
    /// The user's: no tokenizer, or one that cannot be relied on.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let rebuilt;
        let (json, key) = match self.file.text(TOKENIZER_JSON_KEY)? {
            Some(json) => (json, TOKENIZER_JSON_KEY),
            None => {
                rebuilt = self.rebuilt()?;
                (rebuilt.as_str(), "tokenizer.ggml")
            }
        };
        Tokenizer::from_json(json).context(|| format!("{}: `{key}`", self.path.display()))
    }

    /// Tokens that end a text; none where the file does not say.
    pub fn endings(&self) -> Result<Vec<u32>> {
        let mut endings: Vec<u32> = Vec::new();
        for key in ENDING_KEYS {
            let id = self.file.unsigned(key)?.map(|id| u32::try_from(id).map_err(|_| self.file.error(format!("`{key}` is {id}"))));
            endings.extend(id.transpose()?);
        }
        endings.dedup();
        Ok(endings)
    }

    /// How a conversation becomes a text, in Jinja; none where the file does not say.
    pub fn chat_template(&self) -> Result<Option<&str>> {
        self.file.text("tokenizer.chat_template")
    }

    /// A `tokenizer.json` of the keys `tokenizer.ggml.*`.
    fn rebuilt(&self) -> Result<String> {
        use crate::tokenizer::{GgmlVocabulary, VocabularyModel};
        let file = &self.file;
        let model = match file.text("tokenizer.ggml.model")? {
            Some("gpt2") => VocabularyModel::BytePair,
            Some("llama") => VocabularyModel::Scored,
            Some("none") => return Err(file.error("there is no tokenizer in the file")),
            Some(other) => return Err(file.error(format!("`tokenizer.ggml.model` is {other:?}: expected gpt2 or llama"))),
            None => return Err(file.error("the key `tokenizer.ggml.model` is missing: there is no tokenizer")),
        };
        let id = |key: &str| -> Result<Option<u32>> { Ok(file.unsigned(key)?.map(|id| u32::try_from(id).unwrap_or(u32::MAX))) };
        let owned = |texts: Option<Vec<&str>>| texts.unwrap_or_default().into_iter().map(str::to_owned).collect();
        let vocabulary = GgmlVocabulary {
            model,
            pre: file.text("tokenizer.ggml.pre")?.map(str::to_owned),
            tokens: owned(file.texts("tokenizer.ggml.tokens")?),
            kinds: self.kinds()?,
            scores: file.numbers("tokenizer.ggml.scores")?.unwrap_or_default().into_iter().map(|score| score as f32).collect(),
            merges: owned(file.texts("tokenizer.ggml.merges")?),
            bos: id("tokenizer.ggml.bos_token_id")?,
            eos: id("tokenizer.ggml.eos_token_id")?,
            unknown: id("tokenizer.ggml.unknown_token_id")?,
            padding: id("tokenizer.ggml.padding_token_id")?,
            adds_bos: file.boolean("tokenizer.ggml.add_bos_token")?,
            adds_space: file.boolean("tokenizer.ggml.add_space_prefix")?,
        };
        vocabulary.to_tokenizer_json().context(|| self.path.display().to_string())
    }

    fn kinds(&self) -> Result<Vec<crate::tokenizer::TokenKind>> {
        let key = "tokenizer.ggml.token_type";
        let kind = |number: f64| {
            let known = crate::tokenizer::TokenKind::of_id(number as i64);
            known.ok_or_else(|| self.file.error(format!("`{key}` holds {number}, which is no kind of token")))
        };
        self.file.numbers(key)?.unwrap_or_default().into_iter().map(kind).collect()
    }
}
