//! From a `tokenizer.json` to the keys of a GGUF file: byte-level merges, LLaMA 2's merges of characters, and one token a character. Other
//! kinds have no name there.

use super::pre_tokenizers;
use super::{GgmlVocabulary, SPACE, TokenKind, VocabularyModel};
use crate::tokenizer::file::TokenizerFile;
use crate::tokenizer::{BOS_ID, CharacterTokenizer, EOS_ID, PAD_ID, Tokenizer, UNK_ID};
use crate::{Error, Result};
use serde_json::Value;
use std::collections::HashMap;

impl GgmlVocabulary {
    /// What the keys say of `tokenizer`.
    ///
    /// # Errors
    /// The user's: a kind of tokenizer that has no name there.
    pub fn of_tokenizer(tokenizer: &Tokenizer) -> Result<Self> {
        match tokenizer {
            Tokenizer::Characters(characters) => Ok(of_characters(characters)),
            Tokenizer::HuggingFace(_) => of_file(tokenizer),
        }
    }

    /// Whether programs that know `pre` part words as the tokenizer does.
    pub fn has_known_rule(&self) -> bool {
        self.model == VocabularyModel::Scored || self.pre.is_some()
    }
}

/// Scored tokens, none of which is made of others. The space has another name there.
fn of_characters(characters: &CharacterTokenizer) -> GgmlVocabulary {
    let kind = |id: u32| match id {
        UNK_ID => TokenKind::Unknown,
        PAD_ID | BOS_ID | EOS_ID => TokenKind::Control,
        _ if characters.token_bytes(id) == 0 => TokenKind::Unused,
        _ => TokenKind::Normal,
    };
    let ids = 0..characters.vocab_size() as u32;
    GgmlVocabulary {
        model: VocabularyModel::Scored,
        pre: None,
        tokens: ids.clone().map(|id| characters.token(id).replace(' ', &SPACE.to_string())).collect(),
        kinds: ids.clone().map(kind).collect(),
        scores: ids.map(|_| 0.0).collect(),
        merges: Vec::new(),
        bos: Some(BOS_ID),
        eos: Some(EOS_ID),
        unknown: Some(UNK_ID),
        padding: Some(PAD_ID),
        adds_bos: Some(false),
        adds_space: Some(false),
    }
}

fn of_file(tokenizer: &Tokenizer) -> Result<GgmlVocabulary> {
    let text = tokenizer.to_json()?;
    let file = TokenizerFile::parse(&text)?.ok_or_else(|| Error::ours("a tokenizer of characters is none of another kind"))?;
    let value = &file.value;
    let merges = merges(&value["model"]["merges"]);
    let is_scored = value["model"]["byte_fallback"] == true;
    let model = match value["model"]["type"].as_str().unwrap_or("BPE") {
        "BPE" if is_scored => VocabularyModel::Scored,
        "BPE" if value["decoder"]["type"] == "ByteLevel" && value["normalizer"].is_null() => VocabularyModel::BytePair,
        kind => {
            let hint = "GGUF files hold byte-level and LLaMA 2's byte-pair encoding";
            return Err(Error::input(format!("the tokenizer, a {kind}, has no name in GGUF files")).hint(hint));
        }
    };
    let ignores_merges = value["model"]["ignore_merges"] == true;
    let pre = pre_tokenizers::name_of(&value["pre_tokenizer"], ignores_merges).filter(|_| !is_scored);
    let unknown = value["model"]["unk_token"].as_str().and_then(|name| file.tokens.iter().position(|token| token == name));
    Ok(GgmlVocabulary {
        model,
        pre: pre.map(str::to_owned),
        kinds: kinds(&file, unknown),
        scores: if is_scored { scores(&file.tokens, &merges) } else { Vec::new() },
        merges: if is_scored { Vec::new() } else { merges.iter().map(|(left, right)| format!("{left} {right}")).collect() },
        bos: tokenizer.bos_id(),
        eos: tokenizer.eos_id(),
        unknown: unknown.map(|id| id as u32),
        padding: tokenizer.pad_id(),
        adds_bos: Some(tokenizer.opening_id().is_some()),
        adds_space: is_scored.then(|| has_prefix(value)),
        tokens: file.tokens,
    })
}

/// Pairs, which older files write as one text with a space; the file has been checked.
fn merges(value: &Value) -> Vec<(String, String)> {
    let pair = |merge: &Value| -> Option<(String, String)> {
        let (left, right) = match merge {
            Value::String(text) => text.split_once(' ')?,
            pair => (pair[0].as_str()?, pair[1].as_str()?),
        };
        Some((left.to_owned(), right.to_owned()))
    };
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter(|merge| !merge.as_str().is_some_and(|text| text.starts_with("#version")))
        .filter_map(pair)
        .collect()
}

fn kinds(file: &TokenizerFile, unknown: Option<usize>) -> Vec<TokenKind> {
    let is_byte = |token: &String| token.len() == 6 && token.starts_with("<0x") && token.ends_with('>');
    let has_bytes = file.value["model"]["byte_fallback"] == true;
    let usual = |token: &String| if has_bytes && is_byte(token) { TokenKind::Byte } else { TokenKind::Normal };
    let mut kinds: Vec<TokenKind> = file.tokens.iter().map(usual).collect();
    for token in &file.added {
        kinds[token.id as usize] = if token.is_special { TokenKind::Control } else { TokenKind::UserDefined };
    }
    unknown.into_iter().for_each(|id| kinds[id] = TokenKind::Unknown);
    kinds
}

/// The earlier a token can be made, the better its score; characters, which are made of nothing, have 0.
fn scores(tokens: &[String], merges: &[(String, String)]) -> Vec<f32> {
    let mut ranks: HashMap<String, usize> = HashMap::new();
    for (left, right) in merges {
        let rank = ranks.len() + 1;
        ranks.entry(format!("{left}{right}")).or_insert(rank);
    }
    tokens.iter().map(|token| ranks.get(token).map_or(0.0, |rank| -(*rank as f32))).collect()
}

/// Whether a space is put before every text.
fn has_prefix(value: &Value) -> bool {
    let prepends = |step: &Value| step["type"] == "Prepend";
    let normalizer = &value["normalizer"];
    prepends(normalizer)
        || normalizer["normalizers"].as_array().is_some_and(|steps| steps.iter().any(prepends))
        || value["pre_tokenizer"]["type"] == "Metaspace" && value["pre_tokenizer"]["prepend_scheme"] != "never"
}
