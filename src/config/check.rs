//! Walks a document along the schema and stops at the first thing that does not fit, so that the parser's error carries its
//! position and ours says what is wrong and what was meant. Reading files and applying overrides is the business of `load`.

use super::keys::{nearest, paths_ending_in};
use super::schema::{Schema, quoted};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

/// What does not fit, and the cure where one can be named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Finding {
    pub message: String,
    pub hint: Option<String>,
}

/// What stopped a walk: the finding, unless the document itself could not be read, and the parser's error, which has the position.
pub(super) struct Stopped<E> {
    pub finding: Option<Finding>,
    pub error: E,
}

/// Checks all of a document.
pub(super) fn check<'de, D: Deserializer<'de>>(schema: &Schema, path: &str, document: D) -> Result<(), Stopped<D::Error>> {
    walk(schema, path, None, document)
}

/// The parser's error at the key `target`: its position is what is wanted. None if the document has no such key.
pub(super) fn stop_at<'de, D: Deserializer<'de>>(schema: &Schema, target: &str, document: D) -> Option<D::Error> {
    walk(schema, "", Some(target), document).err().map(|stopped| stopped.error)
}

fn walk<'de, D: Deserializer<'de>>(schema: &Schema, path: &str, target: Option<&str>, document: D) -> Result<(), Stopped<D::Error>> {
    let finding = RefCell::new(None);
    let walk = Walk { schema, path: path.to_string(), target, finding: &finding };
    walk.deserialize(document).map_err(|error| Stopped { finding: finding.take(), error })
}

/// The walk at one value.
struct Walk<'a> {
    schema: &'a Schema,
    path: String,
    target: Option<&'a str>,
    finding: &'a RefCell<Option<Finding>>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.schema)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        match self.expected() {
            Schema::TrueOrFalse => Ok(()),
            _ => self.mismatch(value, self.quotes_hint()),
        }
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        match self.expected() {
            Schema::WholeNumber { largest } if value > *largest => self.mismatch(value, Some(format!("it can be at most {largest}"))),
            Schema::WholeNumber { .. } | Schema::Number => Ok(()),
            _ => self.mismatch(value, self.quotes_hint()),
        }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        match self.expected() {
            Schema::Number => Ok(()),
            Schema::WholeNumber { .. } => self.mismatch(value, Some("it cannot be negative".to_string())),
            _ => self.mismatch(value, self.quotes_hint()),
        }
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<(), E> {
        self.mismatch(value, Some(format!("it can be at most {}", u64::MAX)))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<(), E> {
        self.mismatch(value, Some("it is out of range".to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        match self.expected() {
            Schema::Number if value.is_finite() => Ok(()),
            Schema::Number => self.mismatch(value, Some("infinity and NaN are not allowed".to_string())),
            Schema::WholeNumber { .. } => self.mismatch(value, whole_number_hint(value)),
            _ => self.mismatch(value, self.quotes_hint()),
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        match self.expected() {
            Schema::Text => Ok(()),
            Schema::Choice(words) if words.contains(&value) => Ok(()),
            Schema::Choice(words) => self.mismatch(shown(value), meant(value, words.iter().copied())),
            Schema::Tagged(kinds) => match kinds.iter().find(|(kind, _)| *kind == value) {
                Some((_, None)) => Ok(()),
                Some((kind, Some(settings))) => self
                    .mismatch(shown(value), Some(format!("`{kind}` is a key over {settings}: {}", self.notation(kind, settings, "VALUE")))),
                None => self.mismatch(shown(value), self.kind_hint(value, kinds)),
            },
            Schema::WholeNumber { .. } | Schema::Number if value.parse::<f64>().is_ok_and(f64::is_finite) => {
                self.mismatch(shown(value), Some("write the number without quotes and leading zeros".to_string()))
            }
            _ => self.mismatch(shown(value), None),
        }
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        match self.schema {
            Schema::Optional(_) => Ok(()),
            _ => self.mismatch("empty", None),
        }
    }

    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Schema::List(element) = self.expected() else {
            return self.mismatch("a list", None);
        };
        let mut index = 0;
        let walk = |index| Walk { schema: element, path: format!("{}[{index}]", self.path), target: self.target, finding: self.finding };
        while elements.next_element_seed(walk(index))?.is_some() {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        if !matches!(self.expected(), Schema::Section(_) | Schema::Tagged(_)) {
            return self.mismatch("a section", None);
        }
        let mut seen = BTreeSet::new();
        while let Some(name) = entries.next_key_seed(Key { section: &self, seen: &seen })? {
            // The key was looked up when it was accepted.
            let Some(schema) = self.schema.entry(&name) else { continue };
            entries.next_value_seed(Walk { schema, path: joined(&self.path, &name), target: self.target, finding: self.finding })?;
            seen.insert(name);
        }
        self.complete(&seen)
    }
}

impl Walk<'_> {
    fn expected(&self) -> &Schema {
        match self.schema {
            Schema::Optional(inner) => inner,
            schema => schema,
        }
    }

    fn quotes_hint(&self) -> Option<String> {
        matches!(self.expected(), Schema::Text).then(|| "put it in quotes".to_string())
    }

    fn keys_hint(&self) -> Option<String> {
        match self.expected() {
            Schema::Section(entries) => Some(format!("its keys are {}", quoted(entries.iter().map(|(name, _)| *name)))),
            Schema::Tagged(kinds) => {
                let of_kinds = kinds.iter().filter_map(|(kind, settings)| Some(self.notation(kind, settings.as_ref()?, "VALUE")));
                let notations = of_kinds.collect::<Vec<_>>().join(" or ");
                (!notations.is_empty()).then(|| format!("such as {notations}"))
            }
            _ => None,
        }
    }

    /// How a kind and what stands under it are written as a flag.
    fn notation(&self, kind: &str, settings: &Schema, value: &str) -> String {
        let path = joined(&self.path, kind);
        match settings {
            Schema::Section(_) => format!("--set '{path}={{KEY: VALUE, ...}}'"),
            Schema::List(_) => format!("--set '{path}=[{value}, ...]'"),
            _ => format!("--set {path}={value}"),
        }
    }

    /// For a word that is no kind: `kind=5` and `kind: 5` are one with its value.
    fn kind_hint(&self, word: &str, kinds: &[(&'static str, Option<Schema>)]) -> Option<String> {
        let (name, value) = word.split_once(['=', ':']).unwrap_or((word, "VALUE"));
        match kinds.iter().find(|(kind, _)| *kind == name.trim()) {
            Some((kind, Some(settings))) => Some(self.notation(kind, settings, value.trim())),
            _ => meant(word, kinds.iter().map(|(kind, _)| *kind)),
        }
    }

    fn mismatch<T, E: de::Error>(&self, found: impl fmt::Display, hint: Option<String>) -> Result<T, E> {
        let subject = if self.path.is_empty() { "the document".to_string() } else { format!("`{}`", self.path) };
        self.stop(format!("{subject} is {found}, expected {}", self.schema), hint.or_else(|| self.keys_hint()))
    }

    fn stop<T, E: de::Error>(&self, message: String, hint: Option<String>) -> Result<T, E> {
        self.finding.replace(Some(Finding { message: message.clone(), hint }));
        Err(E::custom(message))
    }

    /// A section needs all its keys, a tagged value one.
    fn complete<E: de::Error>(&self, seen: &BTreeSet<String>) -> Result<(), E> {
        match self.expected() {
            Schema::Tagged(kinds) if seen.len() != 1 => {
                let kinds = quoted(kinds.iter().map(|(kind, _)| *kind));
                self.stop(format!("`{}` has {} keys, expected exactly one of {kinds}", self.path, seen.len()), None)
            }
            Schema::Section(entries) => match entries.iter().find(|(name, _)| !seen.contains(*name)) {
                Some((name, schema)) => self.missing(name, schema),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn missing<E: de::Error>(&self, name: &str, schema: &Schema) -> Result<(), E> {
        let place = if self.path.is_empty() { "at the top level".to_string() } else { format!("to the section `{}`", self.path) };
        self.stop(format!("the key `{}` is missing", joined(&self.path, name)), Some(format!("add `{name}` {place}: {schema}")))
    }
}

/// A key of a section: known, not seen before, and not the one that is looked for.
struct Key<'a> {
    section: &'a Walk<'a>,
    seen: &'a BTreeSet<String>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<String, E> {
        let path = joined(&self.section.path, name);
        if self.section.target == Some(&path) {
            return self.section.stop(format!("`{path}` is here"), None);
        }
        if self.section.schema.entry(name).is_none() {
            let unknown = unknown_key(self.section.schema, &self.section.path, name);
            return self.section.stop(unknown.message, unknown.hint);
        }
        if self.seen.contains(name) {
            return self.section.stop(format!("the key `{path}` is there twice"), Some("keep one of the two".to_string()));
        }
        Ok(name.to_string())
    }
}

/// The finding for `name`, which `section` does not have: the key of that name elsewhere, else the nearest one here, else all of
/// them. On a command line `name` may be a path itself.
pub(super) fn unknown_key(section: &Schema, section_path: &str, name: &str) -> Finding {
    let message = format!("unknown key `{}`", joined(section_path, shown(name).trim_matches('"')));
    Finding { message, hint: Some(hint_for_unknown(section, section_path, name)) }
}

fn hint_for_unknown(section: &Schema, section_path: &str, name: &str) -> String {
    let elsewhere = paths_ending_in(name);
    if !elsewhere.is_empty() {
        return format!("there is {}", quoted(elsewhere.iter().map(String::as_str)));
    }
    let names: Vec<&str> = section.entries().into_iter().map(|(name, _)| name).collect();
    match nearest(name.split('.').next().unwrap_or(name), names.iter().copied()) {
        Some(near) => format!("the nearest key is `{}`", joined(section_path, near)),
        None if names.is_empty() => format!("`{section_path}` holds {section} and has no keys"),
        None if section_path.is_empty() => format!("the keys are {}", quoted(names)),
        None => format!("`{section_path}` has the keys {}", quoted(names)),
    }
}

fn meant<'a>(written: &str, words: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(written, words).map(|word| format!("did you mean `{word}`?"))
}

/// A dot between, where there is something before it.
pub(super) fn joined(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_string() } else { format!("{section}.{name}") }
}

fn whole_number_hint(value: f64) -> Option<String> {
    (value.fract() == 0.0 && (0.0..1e15).contains(&value)).then(|| format!("write {value:.0}"))
}

/// In quotes, with control characters escaped, and cut when long.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(60).collect();
    let rest = if start.len() < text.len() { "..." } else { "" };
    format!("{start:?}{rest}")
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
