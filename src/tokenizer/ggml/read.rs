//! From the keys of a GGUF file to a `tokenizer.json`. What is made is then read as any foreign file is, with all its checks.

use super::pre_tokenizers::{self, PreTokenizer};
use super::{GgmlVocabulary, SPACE, TokenKind, VocabularyModel};
use crate::{Error, Result};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Bytes of the longest token that is looked at for merges: every place in it is tried.
const LONGEST_MERGED: usize = 256;
/// The size of LLaMA 3's vocabulary, whose published ternary models do not say which rule parts their words.
const LLAMA3_TOKENS: usize = 128_256;

/// A way to make a token, by ids and by texts.
struct Merge<'a> {
    made: usize,
    of: (usize, usize),
    pair: (&'a str, &'a str),
}

impl GgmlVocabulary {
    /// The `tokenizer.json` that gives the same ids.
    ///
    /// # Errors
    /// The user's: numbers of tokens, kinds and scores that differ, an id beyond them, or a rule that is not known here.
    pub fn to_tokenizer_json(&self) -> Result<String> {
        self.check_lengths()?;
        let json = match self.model {
            VocabularyModel::BytePair => self.byte_pair()?,
            VocabularyModel::Scored => self.scored(),
        };
        Ok(json.to_string())
    }

    fn check_lengths(&self) -> Result<()> {
        let count = self.tokens.len();
        let others = [("token_type", self.kinds.len(), true), ("scores", self.scores.len(), self.model == VocabularyModel::BytePair)];
        for (key, found, may_be_none) in others {
            if found != count && !(may_be_none && found == 0) {
                return Err(Error::input(format!("`tokenizer.ggml.{key}` has {found} entries for {count} tokens")));
            }
        }
        let ids = [("bos", self.bos), ("eos", self.eos), ("unknown", self.unknown), ("padding", self.padding)];
        match ids.into_iter().find_map(|(name, id)| id.filter(|id| *id as usize >= count).map(|id| (name, id))) {
            Some((name, id)) => Err(Error::input(format!("`tokenizer.ggml.{name}_token_id` is {id}, but there are {count} tokens"))),
            None => Ok(()),
        }
    }

    fn byte_pair(&self) -> Result<Value> {
        let PreTokenizer { json, ignores_merges, adds_bos } = self.pre_tokenizer()?;
        let merges: Vec<Value> = self.merges.iter().map(|merge| json!(merge.split_once(' '))).collect();
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": ignores_merges, "vocab": self.vocabulary(), "merges": merges,
        });
        let decoder = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        Ok(self.file(Value::Null, json, self.template(adds_bos), decoder, model))
    }

    fn pre_tokenizer(&self) -> Result<PreTokenizer> {
        let unnamed = if self.tokens.len() == LLAMA3_TOKENS { "llama-bpe" } else { "default" };
        let name = self.pre.as_deref().unwrap_or(unnamed);
        pre_tokenizers::by_name(name).ok_or_else(|| {
            let known = pre_tokenizers::names();
            Error::input(format!("`tokenizer.ggml.pre` is {name:?}, a rule that is not known here")).hint(format!("known are {known}"))
        })
    }

    /// As LLaMA 2's file is: no words, a space before the text, and every character without a token as its bytes.
    fn scored(&self) -> Value {
        let has_bytes = self.kinds.contains(&TokenKind::Byte);
        let unknown = self.unknown.map(|id| &self.tokens[id as usize]);
        let model = json!({
            "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": true, "byte_fallback": has_bytes, "ignore_merges": false, "vocab": self.vocabulary(), "merges": self.merges_of_scores(),
        });
        let adds_space = self.adds_space != Some(false);
        let mut normalizers = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})];
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if adds_space {
            normalizers.insert(0, json!({"type": "Prepend", "prepend": SPACE}));
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let (normalizer, decoder) =
            (json!({"type": "Sequence", "normalizers": normalizers}), json!({"type": "Sequence", "decoders": decoders}));
        self.file(normalizer, Value::Null, self.template(true), decoder, model)
    }

    /// Every way to make a token of two others, the best score first.
    fn merges_of_scores(&self) -> Vec<(&str, &str)> {
        let is_text = |id: usize| self.kinds.get(id).is_none_or(|kind| *kind == TokenKind::Normal);
        let texts = || self.tokens.iter().enumerate().filter(|(id, _)| is_text(*id));
        let ids: HashMap<&str, usize> = texts().map(|(id, token)| (token.as_str(), id)).collect();
        let mut merges: Vec<Merge<'_>> = Vec::new();
        for (id, token) in texts().filter(|(_, token)| token.len() <= LONGEST_MERGED) {
            let places = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
            merges.extend(places.filter_map(|pair| Some(Merge { made: id, of: (*ids.get(pair.0)?, *ids.get(pair.1)?), pair })));
        }
        merges.sort_by(|left, right| {
            let by_score = self.scores[right.made].total_cmp(&self.scores[left.made]);
            by_score.then(left.made.cmp(&right.made)).then(left.of.cmp(&right.of))
        });
        merges.into_iter().map(|merge| merge.pair).collect()
    }

    fn vocabulary(&self) -> Value {
        self.tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect()
    }

    /// What puts `bos` before every text.
    fn template(&self, adds_bos_usually: bool) -> Value {
        let Some(id) = self.bos.filter(|_| self.adds_bos.unwrap_or(adds_bos_usually)) else { return Value::Null };
        let token = &self.tokens[id as usize];
        let (special, text) = (json!({"SpecialToken": {"id": token, "type_id": 0}}), json!({"Sequence": {"id": "A", "type_id": 0}}));
        json!({
            "type": "TemplateProcessing",
            "single": [special, text],
            "pair": [special, text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}},
        })
    }

    fn file(&self, normalizer: Value, pre_tokenizer: Value, post_processor: Value, decoder: Value, model: Value) -> Value {
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": self.added_tokens(), "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": decoder, "model": model,
        })
    }

    /// Tokens that are looked for in a text before it is parted, or that never are text.
    fn added_tokens(&self) -> Vec<Value> {
        let roles = [self.bos, self.eos, self.unknown, self.padding];
        let added = |(id, token): (usize, &String)| {
            let kind = self.kinds.get(id).copied().unwrap_or(TokenKind::Normal);
            let is_special = matches!(kind, TokenKind::Control | TokenKind::Unknown) || roles.contains(&u32::try_from(id).ok());
            (is_special || kind == TokenKind::UserDefined).then(|| {
                json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                    "special": is_special,
                })
            })
        };
        self.tokens.iter().enumerate().filter_map(added).collect()
    }
}
