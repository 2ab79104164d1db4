//! The usual `tokenizer.json`: byte pairs, whose two tables are all but a few kilobytes of it. They go from the text into the
//! `tokenizers` library without a tree of JSON in between, which takes two fifths of the time. A file that is unusual or wrong is left to
//! `file`, which says what is wrong with it; of any other both make the same tokenizer.

use super::file::{AddedToken, LARGEST_FILE, TokenizerFile, added_tokens, tame};
use super::special::SpecialIds;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::fmt;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{ModelWrapper, Tokenizer};

/// A checked file, and what the library makes of it. None of a file that is unusual or wrong.
pub(super) fn read(text: &str) -> Option<(TokenizerFile, Tokenizer)> {
    if text.len() > LARGEST_FILE {
        return None;
    }
    let UsualFile { model, rest } = serde_json::from_str(text).ok()?;
    if model.rest.get("type").is_none_or(|kind| kind != "BPE") || !model.has_harmless_merges() {
        return None;
    }
    let mut value = Value::Object(rest);
    value["model"] = Value::Object(model.rest);
    value["model"]["vocab"] = json!({});
    value["model"]["merges"] = json!([]);
    let mut added = added_tokens(value.get("added_tokens")?).ok()?;
    let tokens = model.vocabulary.with(&added)?;
    let special_ids = SpecialIds::find(&value, &added);
    added.iter_mut().for_each(|token| token.mark_special(special_ids));
    tame(&mut value, &added);
    let library = library(&mut value, model.vocabulary.ids, model.merges.pairs)?;
    Some((TokenizerFile { value, added, special_ids, tokens }, library))
}

/// The tokenizer of a file with these tables; `value` is the rest of it.
fn library(value: &mut Value, ids: Vocab, merges: Vec<(String, String)>) -> Option<Tokenizer> {
    let added = value["added_tokens"].take();
    value["added_tokens"] = json!([]);
    let mut library = Tokenizer::deserialize(&*value).ok()?;
    let ModelWrapper::BPE(options) = library.get_model() else { return None };
    let mut model = BPE::builder()
        .vocab_and_merges(ids, merges)
        .fuse_unk(options.fuse_unk)
        .byte_fallback(options.byte_fallback)
        .ignore_merges(options.ignore_merges);
    if let Some(token) = &options.unk_token {
        model = model.unk_token(token.clone());
    }
    if let Some(prefix) = &options.continuing_subword_prefix {
        model = model.continuing_subword_prefix(prefix.clone());
    }
    if let Some(suffix) = &options.end_of_word_suffix {
        model = model.end_of_word_suffix(suffix.clone());
    }
    library.with_model(model.build().ok()?);
    let tokens: Vec<tokenizers::AddedToken> = Deserialize::deserialize(&added).ok()?;
    library.add_tokens(tokens).ok()?;
    value["added_tokens"] = added;
    Some(library)
}

#[derive(Deserialize)]
struct UsualFile {
    model: Model,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "vocab")]
    vocabulary: Vocabulary,
    merges: Merges,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Model {
    /// Whether no merge is longer than the longest token, or parts a character: the library relies on that.
    fn has_harmless_merges(&self) -> bool {
        let prefix = match self.rest.get("continuing_subword_prefix") {
            None | Some(Value::Null) => "",
            Some(Value::String(prefix)) => prefix,
            Some(_) => return false,
        };
        let is_harmless = |(left, right): &(String, String)| {
            right.strip_prefix(prefix).is_some_and(|rest| left.len() + rest.len() <= self.vocabulary.longest)
        };
        !self.merges.pairs.is_empty() && self.merges.pairs.iter().all(is_harmless)
    }
}

/// Ids by token.
#[derive(Default)]
struct Vocabulary {
    ids: Vocab,
    /// Bytes of the longest token.
    longest: usize,
}

impl Vocabulary {
    /// The tokens by id, added ones included; none where an id has two tokens or none, or a token two ids.
    fn with(&self, added: &[AddedToken]) -> Option<Vec<String>> {
        let mut tokens: Vec<Option<&str>> = vec![None; self.ids.len() + added.len()];
        let added = added.iter().map(|token| (token.id, token.content.as_str()));
        for (id, token) in self.ids.iter().map(|(token, id)| (*id, token.as_str())).chain(added) {
            if self.ids.get(token).is_some_and(|known| *known != id) {
                return None;
            }
            let place = tokens.get_mut(id as usize)?;
            if place.replace(token).is_some_and(|other| other != token) {
                return None;
            }
        }
        let count = tokens.iter().take_while(|token| token.is_some()).count();
        let is_whole = tokens[count..].iter().all(Option::is_none);
        is_whole.then(|| tokens.into_iter().flatten().map(str::to_owned).collect())
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vocabulary;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("ids of tokens")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Vocabulary, A::Error> {
                let mut vocabulary = Vocabulary::default();
                while let Some((token, id)) = entries.next_entry::<String, u32>()? {
                    vocabulary.longest = vocabulary.longest.max(token.len());
                    if vocabulary.ids.insert(token, id).is_some() {
                        return Err(A::Error::custom("a token is there twice"));
                    }
                }
                Ok(vocabulary)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Tokens that become one, the most frequent first.
#[derive(Default)]
struct Merges {
    pairs: Vec<(String, String)>,
}

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Merges;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("pairs of tokens, all written alike")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Merges, A::Error> {
                let (mut merges, mut are_texts) = (Merges::default(), None);
                while let Some(Merge { pair, is_text }) = elements.next_element()? {
                    if *are_texts.get_or_insert(is_text) != is_text {
                        return Err(A::Error::custom("merges are written in two ways"));
                    }
                    merges.pairs.push(pair);
                }
                Ok(merges)
            }
        }
        deserializer.deserialize_seq(Pairs)
    }
}

/// Two tokens, as a list or, in older files, as a text with a space in between.
struct Merge {
    pair: (String, String),
    is_text: bool,
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Merge;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("two tokens")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Merge, E> {
                let pair = text.split_once(' ').filter(|(_, right)| !right.contains(' ') && !text.starts_with("#version"));
                let (left, right) = pair.ok_or_else(|| E::custom("not two tokens"))?;
                Ok(Merge { pair: (left.to_owned(), right.to_owned()), is_text: true })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut tokens: A) -> Result<Merge, A::Error> {
                let (left, right) = (tokens.next_element()?, tokens.next_element()?);
                match (left, right, tokens.next_element::<String>()?) {
                    (Some(left), Some(right), None) => Ok(Merge { pair: (left, right), is_text: false }),
                    _ => Err(A::Error::custom("not two tokens")),
                }
            }
        }
        deserializer.deserialize_any(Pair)
    }
}
