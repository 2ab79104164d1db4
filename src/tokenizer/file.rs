//! A foreign `tokenizer.json` before the `tokenizers` library sees it. That library panics on some files, gives other ids than a file
//! says, and obeys settings that would cut texts or make ids random: here such files become one clear error, such settings are dropped.

use super::special::{SPECIAL_TOKENS, SpecialIds, SpecialToken};
use crate::error::shortened;
use crate::{Error, Result};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// Bytes of the largest `tokenizer.json` that is read: twice the largest ones in use.
pub const LARGEST_FILE: usize = 64 * 1024 * 1024;
/// Bytes of the longest token that a file may add: each is looked for at every place of a text.
const LONGEST_ADDED: usize = 1000;

/// A token that a file adds to the vocabulary of its model.
#[derive(Debug, PartialEq)]
pub(super) struct AddedToken {
    pub id: u32,
    pub content: String,
    /// What it looks like in a text is no such token, and decoding leaves it out.
    pub is_special: bool,
    /// Where it takes the space before it along, where that behind it.
    pub strips: [bool; 2],
    /// Where it takes the space around it along, or only a whole word is it.
    pub is_greedy: bool,
}

impl AddedToken {
    /// Marks it where it has a role, or the name of one that has: some files forget to.
    fn mark_special(&mut self, special_ids: SpecialIds) {
        self.is_special |= special_ids.contains(self.id) || is_control(&self.content);
    }

    pub(super) fn to_special(&self) -> SpecialToken {
        let [strips_left, strips_right] = self.strips;
        SpecialToken { id: self.id, content: self.content.clone(), strips_left, strips_right }
    }
}

/// A checked file.
pub(super) struct TokenizerFile {
    /// For the library, without what must not act.
    pub value: Value,
    pub added: Vec<AddedToken>,
    pub special_ids: SpecialIds,
    /// By id, added ones included.
    pub tokens: Vec<String>,
}

impl TokenizerFile {
    /// Checks a file; none for one of this program's character tokenizers.
    ///
    /// # Errors
    /// The user's: the file is no tokenizer, or one whose ids cannot be relied on.
    pub(super) fn parse(text: &str) -> Result<Option<Self>> {
        if text.len() > LARGEST_FILE {
            return Err(Error::input(format!("{} bytes, more than the {LARGEST_FILE} of the largest tokenizer.json", text.len())));
        }
        let mut value: Value = serde_json::from_str(text).map_err(|error| wrong(format!("not JSON: {error}")))?;
        if !value["model"].is_object() {
            return Err(wrong("no object `model`"));
        }
        if is_ours(&value) {
            return Ok(None);
        }
        check_kind(&value["model"]["type"])?;
        let vocabulary = vocabulary(&value["model"])?;
        let mut added = added_tokens(&value["added_tokens"])?;
        let tokens = by_id(&vocabulary, &added)?;
        check_merges(&value["model"], &vocabulary)?;
        let id_of = |name: &str| added.iter().find(|token| token.content == name).map(|token| token.id);
        let special_ids = SpecialIds::find(&value, id_of);
        added.iter_mut().for_each(|token| token.mark_special(special_ids));
        tame(&mut value, &added);
        Ok(Some(Self { value, added, special_ids, tokens }))
    }
}

/// One of this program's character tokenizers: no merges, nothing before the model, and the four special tokens first.
fn is_ours(value: &Value) -> bool {
    let model = &value["model"];
    let has_own_tokens = || SPECIAL_TOKENS.iter().zip(0u32..).all(|(token, id)| model["vocab"][token] == id);
    let parts_nothing = value["normalizer"].is_null() && value["pre_tokenizer"].is_null();
    model["type"] == "BPE" && model["merges"] == json!([]) && parts_nothing && has_own_tokens()
}

/// The oldest files do not say which kind they are.
fn check_kind(kind: &Value) -> Result<()> {
    match kind.is_null() || ["BPE", "Unigram", "WordPiece", "WordLevel"].iter().any(|known| kind == known) {
        true => Ok(()),
        false => Err(wrong(format!("`model.type` is {}, not BPE, Unigram, WordPiece or WordLevel", shown(kind)))),
    }
}

fn wrong(message: impl std::fmt::Display) -> Error {
    Error::input(format!("not a tokenizer.json: {message}"))
}

/// Ids of the model's own tokens: a map, or a list of tokens with their scores.
fn vocabulary(model: &Value) -> Result<HashMap<String, u32>> {
    let listed = |(id, entry): (u32, &Value)| match entry[0].as_str() {
        Some(token) => Ok((token.to_owned(), id)),
        None => Err(wrong(format!("`model.vocab[{id}]` is {}, not a token with a score", shown(entry)))),
    };
    let mapped = |(token, id): (&String, &Value)| Ok((token.clone(), id_of(id, || format!("`model.vocab` for {token:?}"))?));
    match &model["vocab"] {
        Value::Object(map) => map.iter().map(mapped).collect(),
        Value::Array(list) => (0..).zip(list).map(listed).collect(),
        other => Err(wrong(format!("`model.vocab` is {}, not the tokens", shown(other)))),
    }
}

fn id_of(value: &Value, place: impl FnOnce() -> String) -> Result<u32> {
    let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| wrong(format!("{} is {}, not an id", place(), shown(value))))
}

fn added_tokens(value: &Value) -> Result<Vec<AddedToken>> {
    let read = |(index, token): (usize, &Value)| {
        let is_set = |key: &str| token[key] == true;
        match token["content"].as_str() {
            Some(content) if content.len() > LONGEST_ADDED => {
                Err(wrong(format!("`added_tokens[{index}]` has {} bytes, more than {LONGEST_ADDED}", content.len())))
            }
            Some(content) if !content.is_empty() => Ok(AddedToken {
                id: id_of(&token["id"], || format!("`added_tokens[{index}].id`"))?,
                content: content.to_owned(),
                is_special: is_set("special"),
                strips: [is_set("lstrip"), is_set("rstrip")],
                is_greedy: is_set("lstrip") || is_set("rstrip") || is_set("single_word"),
            }),
            _ => Err(wrong(format!("`added_tokens[{index}]` is {}, without content", shown(token)))),
        }
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => list.iter().enumerate().map(read).collect(),
        other => Err(wrong(format!("`added_tokens` is {}, not a list", shown(other)))),
    }
}

/// All tokens by id. Each id has to have one token, and none may be left out: the library counts added tokens on from the others.
fn by_id(vocabulary: &HashMap<String, u32>, added: &[AddedToken]) -> Result<Vec<String>> {
    let mut tokens: BTreeMap<u32, &str> = BTreeMap::new();
    let added_ids = added.iter().map(|token| (token.content.as_str(), token.id));
    for (token, id) in vocabulary.iter().map(|(token, id)| (token.as_str(), *id)).chain(added_ids) {
        if let Some(other) = vocabulary.get(token).filter(|other| **other != id) {
            return Err(wrong(format!("{token:?} has the ids {other} and {id}")));
        }
        match tokens.insert(id, token) {
            Some(other) if other != token => {
                return Err(wrong(format!("id {id} stands for {:?} and {:?}", other.min(token), other.max(token))));
            }
            _ => {}
        }
    }
    match tokens.iter().zip(0u32..).find(|((id, _), expected)| **id != *expected) {
        Some(((id, token), expected)) => Err(wrong(format!("{token:?} has id {id}, but no token has id {expected}"))),
        None if tokens.is_empty() => Err(wrong("no tokens")),
        None => Ok(tokens.into_values().map(str::to_owned).collect()),
    }
}

/// Every merge joins two tokens into a third. The library panics where the third is longer than every token, and trusts that it is UTF-8.
fn check_merges(model: &Value, vocabulary: &HashMap<String, u32>) -> Result<()> {
    let merges = match &model["merges"] {
        Value::Null => return Ok(()),
        Value::Array(merges) => merges,
        other => return Err(wrong(format!("`model.merges` is {}, not a list", shown(other)))),
    };
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or_default();
    let is_version = |merge: &Value| merge.as_str().is_some_and(|text| text.starts_with("#version"));
    for (index, merge) in merges.iter().enumerate().filter(|(_, merge)| !is_version(merge)) {
        let wrong_merge = |what: String| wrong(format!("`model.merges[{index}]` is {}: {what}", shown(merge)));
        let Some((left, right)) = pair(merge) else { return Err(wrong_merge("not two tokens".into())) };
        let Some(rest) = right.strip_prefix(prefix) else { return Err(wrong_merge(format!("{right:?} does not begin with {prefix:?}"))) };
        if let Some(missing) = [left, right, &format!("{left}{rest}")].into_iter().find(|token| !vocabulary.contains_key(*token)) {
            return Err(wrong_merge(format!("{} is not in the vocabulary", shown(&json!(missing)))));
        }
    }
    Ok(())
}

/// The two tokens of a merge, which older files write as one text with a space.
fn pair(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(text) => text.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        Value::Array(tokens) if tokens.len() == 2 => Some((tokens[0].as_str()?, tokens[1].as_str()?)),
        _ => None,
    }
}

/// Named as chat and document marks are. Some files forget to say that theirs are special.
fn is_control(content: &str) -> bool {
    content.starts_with("<|") && content.ends_with("|>")
}

/// Takes out what would cut or fill texts, make ids random or add tokens, and marks the special tokens that a file forgot to mark.
fn tame(value: &mut Value, added: &[AddedToken]) {
    for key in ["truncation", "padding", "post_processor"] {
        value[key] = Value::Null;
    }
    if let Some(dropout) = value["model"].get_mut("dropout") {
        *dropout = Value::Null;
    }
    for (index, _) in added.iter().enumerate().filter(|(_, token)| token.is_special) {
        value["added_tokens"][index]["special"] = true.into();
    }
}

/// A value as JSON, cut when long.
fn shown(value: &Value) -> String {
    shortened(&value.to_string())
}
