//! What may stand under a key, as a tree. How it is derived from the structs is `trace`'s business, which keys an experiment has
//! that of `keys`, whether a document fits that of `check`.

use std::fmt;

/// What may stand under a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Schema {
    /// A mapping with exactly these keys.
    Section(Vec<(&'static str, Schema)>),
    /// One key that names the kind over its settings, or the bare name of a kind that has none.
    Tagged(Vec<(&'static str, Option<Schema>)>),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// 0 to `largest`.
    WholeNumber { largest: u64 },
    /// A finite number.
    Number,
    /// `true` or `false`.
    TrueOrFalse,
    /// Any text.
    Text,
    /// Any number of these.
    List(Box<Schema>),
    /// This, or null.
    Optional(Box<Schema>),
}

impl Schema {
    /// The keys directly under this one; none unless it is a section, tagged, or an optional one of these.
    pub(super) fn entries(&self) -> Vec<(&'static str, &Schema)> {
        match self {
            Schema::Section(entries) => entries.iter().map(|(name, schema)| (*name, schema)).collect(),
            Schema::Tagged(kinds) => kinds.iter().filter_map(|(name, schema)| Some((*name, schema.as_ref()?))).collect(),
            Schema::Optional(inner) => inner.entries(),
            _ => Vec::new(),
        }
    }

    /// Whether one of its keys stands for the kind of the value.
    pub(super) fn is_tagged(&self) -> bool {
        match self {
            Schema::Tagged(_) => true,
            Schema::Optional(inner) => inner.is_tagged(),
            _ => false,
        }
    }

    /// Whether something else than keys may stand here: a word, a number, a list.
    pub(super) fn holds_a_value(&self) -> bool {
        match self {
            Schema::Tagged(kinds) => kinds.iter().any(|(_, settings)| settings.is_none()),
            _ => self.entries().is_empty(),
        }
    }

    /// What stands under `name`, if it is a key.
    pub(super) fn entry(&self, name: &str) -> Option<&Schema> {
        self.entries().into_iter().find_map(|(key, schema)| (key == name).then_some(schema))
    }

    /// Every path below this one with what stands there, sections before their keys.
    pub(super) fn keys(&self) -> Vec<(String, &Schema)> {
        let mut keys = Vec::new();
        for (name, schema) in self.entries() {
            keys.push((name.to_string(), schema));
            keys.extend(schema.keys().into_iter().map(|(path, schema)| (format!("{name}.{path}"), schema)));
        }
        keys
    }
}

/// As it reads after "expected".
impl fmt::Display for Schema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schema::Section(_) => formatter.write_str("a section"),
            Schema::Tagged(kinds) => write!(formatter, "one of {}", quoted(kinds.iter().map(|(name, _)| *name))),
            Schema::Choice(words) => write!(formatter, "one of {}", quoted(words.iter().copied())),
            Schema::WholeNumber { .. } => formatter.write_str("a whole number"),
            Schema::Number => formatter.write_str("a number"),
            Schema::TrueOrFalse => formatter.write_str("true or false"),
            Schema::Text => formatter.write_str("text"),
            Schema::List(_) => formatter.write_str("a list"),
            Schema::Optional(inner) => write!(formatter, "{inner}, or null"),
        }
    }
}

/// `a`, `b`, `c`.
pub(super) fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
