//! A deserializer that reads no input: it answers every request of a type with an example and notes what was asked for. That is
//! how the schema comes from the structs themselves. Types that the config does not use are refused.

use super::schema::Schema;
use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// The schema of `T`, or why it has none.
pub(super) fn trace<'de, T: Deserialize<'de>>() -> Result<Schema, String> {
    let mut kinds = Kinds::new();
    loop {
        let mut found = None;
        match T::deserialize(Tracer { path: String::new(), found: &mut found, kinds: &mut kinds }) {
            Ok(_) => return found.ok_or_else(|| "the type asks for nothing".to_string()),
            Err(Stop::Again) => {}
            Err(stop) => return Err(format!("the config's schema cannot be derived: {stop}")),
        }
    }
}

/// Kinds of each tagged enum, by path. The outer option is none until the kind was traced, the inner one for a kind without settings.
type Kinds = BTreeMap<String, Vec<(&'static str, Option<Option<Schema>>)>>;

/// Why a pass over the type ended early.
#[derive(Debug)]
enum Stop {
    /// A kind was learnt: trace once more, for the next one.
    Again,
    /// A tagged enum named its kinds.
    KindsAre(&'static [&'static str]),
    /// A kind has no settings.
    NoSettings,
    /// A shape that the schema does not know.
    Unsupported(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Unsupported(what) => formatter.write_str(what),
            other => write!(formatter, "{other:?}"),
        }
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Stop::Unsupported(message.to_string())
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Stop::KindsAre(expected)
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        match unexpected {
            Unexpected::Map => Stop::NoSettings,
            other => Stop::Unsupported(format!("invalid type: {other}, expected {expected}")),
        }
    }
}

/// Answers for the value at `path` and leaves in `found` what was asked.
struct Tracer<'a> {
    path: String,
    found: &'a mut Option<Schema>,
    kinds: &'a mut Kinds,
}

/// Requests that an example answers.
macro_rules! answered {
    ($($request:ident => $answer:ident($example:expr), $schema:expr;)*) => {$(
        fn $request<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
            *self.found = Some($schema);
            visitor.$answer($example)
        }
    )*};
}

impl<'de> Deserializer<'de> for Tracer<'_> {
    type Error = Stop;

    answered! {
        deserialize_bool => visit_bool(false), Schema::TrueOrFalse;
        deserialize_u8 => visit_u8(0), Schema::WholeNumber { largest: u8::MAX.into() };
        deserialize_u16 => visit_u16(0), Schema::WholeNumber { largest: u16::MAX.into() };
        deserialize_u32 => visit_u32(0), Schema::WholeNumber { largest: u32::MAX.into() };
        deserialize_u64 => visit_u64(0), Schema::WholeNumber { largest: u64::MAX };
        deserialize_f32 => visit_f32(0.0), Schema::Number;
        deserialize_f64 => visit_f64(0.0), Schema::Number;
        deserialize_str => visit_str(""), Schema::Text;
        deserialize_string => visit_str(""), Schema::Text;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let mut inner = None;
        let value = visitor.visit_some(Tracer { path: self.path, found: &mut inner, kinds: self.kinds })?;
        *self.found = inner.map(|inner| Schema::Optional(Box::new(inner)));
        Ok(value)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let mut element = None;
        let one = Tracer { path: format!("{}[]", self.path), found: &mut element, kinds: self.kinds };
        let value = visitor.visit_seq(OneElement(Some(one)))?;
        *self.found = element.map(|element| Schema::List(Box::new(element)));
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        let mut entries = Vec::new();
        let value = visitor.visit_map(Fields { path: &self.path, rest: fields, entries: &mut entries, kinds: self.kinds })?;
        *self.found = Some(Schema::Section(entries));
        Ok(value)
    }

    /// An enum without settings. One with settings has to be tagged by a key: `singleton_map`, which asks for "any".
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        *self.found = Some(Schema::Choice(variants));
        let first = variants.first().copied().unwrap_or_default();
        visitor.visit_enum(StrDeserializer::new(first)).map_err(|stop: Stop| match stop {
            Stop::Unsupported(_) => Stop::Unsupported(format!("`{}`: variants with settings need `singleton_map`", self.path)),
            other => other,
        })
    }

    /// An enum tagged by a key. A pass answers with one kind, so each kind takes a pass.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let Some(kinds) = self.kinds.get(&self.path) else {
            return self.ask_for_kinds(visitor);
        };
        match kinds.iter().find(|(_, traced)| traced.is_none()) {
            Some((kind, _)) => {
                let kind = *kind;
                self.trace_kind(kind, visitor)
            }
            None => self.answer_with_first_kind(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 char bytes byte_buf unit unit_struct newtype_struct tuple tuple_struct map identifier ignored_any
    }
}

impl Tracer<'_> {
    /// A kind that cannot exist makes the type name those that do.
    fn ask_for_kinds<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let unsupported = format!("`{}`: a type that the schema does not know", self.path);
        let probe = Tracer { path: self.path.clone(), found: self.found, kinds: self.kinds };
        match visitor.visit_map(OneEntry { key: Some("?"), value: Some(probe) }) {
            Err(Stop::KindsAre(names)) => {
                self.kinds.insert(self.path, names.iter().map(|name| (*name, None)).collect());
                Err(Stop::Again)
            }
            _ => Err(Stop::Unsupported(unsupported)),
        }
    }

    fn trace_kind<'de, V: Visitor<'de>>(self, kind: &'static str, visitor: V) -> Result<V::Value, Stop> {
        let mut settings = None;
        let value = Tracer { path: format!("{}.{kind}", self.path), found: &mut settings, kinds: self.kinds };
        match visitor.visit_map(OneEntry { key: Some(kind), value: Some(value) }) {
            Ok(_) | Err(Stop::NoSettings) => {}
            Err(stop) => return Err(stop),
        }
        let traced = self.kinds.get_mut(&self.path).and_then(|kinds| kinds.iter_mut().find(|(name, _)| *name == kind));
        traced.into_iter().for_each(|entry| entry.1 = Some(settings.take()));
        Err(Stop::Again)
    }

    fn answer_with_first_kind<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Stop> {
        let kinds: Vec<_> = self.kinds[&self.path].iter().map(|(name, traced)| (*name, traced.clone().flatten())).collect();
        let first = kinds.first().map(|(name, settings)| (*name, settings.is_some()));
        *self.found = Some(Schema::Tagged(kinds));
        match first {
            Some((kind, true)) => {
                let value = Tracer { path: format!("{}.{kind}", self.path), found: &mut None, kinds: self.kinds };
                visitor.visit_map(OneEntry { key: Some(kind), value: Some(value) })
            }
            Some((kind, false)) => visitor.visit_str(kind),
            None => Err(Stop::Unsupported(format!("`{}`: an enum without variants", self.path))),
        }
    }
}

/// The fields of a struct, each answered by a tracer of its own.
struct Fields<'a> {
    path: &'a str,
    rest: &'static [&'static str],
    entries: &'a mut Vec<(&'static str, Schema)>,
    kinds: &'a mut Kinds,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        self.rest.first().map(|name| seed.deserialize(StrDeserializer::new(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        let (name, rest) = self.rest.split_first().ok_or(Stop::Again)?;
        self.rest = rest;
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        let mut found = None;
        let value = seed.deserialize(Tracer { path: path.clone(), found: &mut found, kinds: self.kinds })?;
        self.entries.push((name, found.ok_or_else(|| Stop::Unsupported(format!("`{path}` asks for nothing")))?));
        Ok(value)
    }
}

struct OneElement<'a>(Option<Tracer<'a>>);

impl<'de> SeqAccess<'de> for OneElement<'_> {
    type Error = Stop;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Stop> {
        self.0.take().map(|tracer| seed.deserialize(tracer)).transpose()
    }
}

struct OneEntry<'a> {
    key: Option<&'static str>,
    value: Option<Tracer<'a>>,
}

impl<'de> MapAccess<'de> for OneEntry<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Stop> {
        self.key.take().map(|key| seed.deserialize(StrDeserializer::new(key))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        seed.deserialize(self.value.take().ok_or(Stop::Again)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[allow(dead_code)]
    enum Source {
        Nothing,
        Files(Files),
    }

    #[derive(serde::Deserialize)]
    #[allow(dead_code)]
    struct Files {
        paths: Vec<String>,
        limit: Option<u32>,
    }

    #[derive(serde::Deserialize)]
    #[allow(dead_code)]
    struct Whole {
        #[serde(with = "serde_yaml::with::singleton_map")]
        source: Source,
    }

    #[test]
    fn a_tagged_enum_shows_every_kind_with_and_without_settings() {
        let files = Schema::Section(vec![
            ("paths", Schema::List(Box::new(Schema::Text))),
            ("limit", Schema::Optional(Box::new(Schema::WholeNumber { largest: u32::MAX.into() }))),
        ]);
        let source = Schema::Tagged(vec![("nothing", None), ("files", Some(files))]);
        assert_eq!(trace::<Whole>(), Ok(Schema::Section(vec![("source", source)])));
    }

    #[test]
    fn an_enum_with_settings_that_no_key_tags_is_refused() {
        #[derive(serde::Deserialize)]
        #[allow(dead_code)]
        enum Bare {
            Files(Files),
        }
        #[derive(serde::Deserialize)]
        #[allow(dead_code)]
        struct Wrong {
            source: Bare,
        }
        let message = trace::<Wrong>().unwrap_err();
        assert!(message.contains("`source`: variants with settings need `singleton_map`"), "{message}");
    }
}
