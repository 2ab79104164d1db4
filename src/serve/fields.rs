//! The fields of a request, taken one by one: a value of the wrong kind or out of its range is an error that names the field, and so is
//! a field that nobody took.

use super::api_error::ApiError;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Two names at most so far apart are taken for a slip of the keyboard.
const LARGEST_SLIP: usize = 2;

/// What is left of a request.
#[derive(Debug)]
pub(super) struct Fields {
    left: Map<String, Value>,
    known: BTreeSet<String>,
    /// In front of names in messages, such as `stream_options.`.
    prefix: String,
}

impl Fields {
    /// Of a request's body.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let value: Value = serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("the body is no JSON: {error}")))?;
        Self::of(value, "")
    }

    /// Of an object; `prefix` is where it stands.
    pub fn of(value: Value, prefix: &str) -> Result<Self, ApiError> {
        match value {
            Value::Object(left) => Ok(Self { left, known: BTreeSet::new(), prefix: prefix.to_owned() }),
            other if prefix.is_empty() => Err(ApiError::bad_request(format!("the body is {}, not an object", kind(&other)))),
            other => Err(wrong(prefix.trim_end_matches('.'), "an object", &other)),
        }
    }

    /// Any value; null counts as absent.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.known.insert(name.to_owned());
        self.left.remove(name).filter(|value| !value.is_null())
    }

    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        self.typed(name, "true or false", |value| value.as_bool())
    }

    pub fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        self.typed(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub fn number(&mut self, name: &str) -> Result<Option<f64>, ApiError> {
        self.typed(name, "a number", Value::as_f64)
    }

    /// Any whole number of 64 bits, with its sign or without.
    pub fn seed(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        self.typed(name, "a whole number", |value| value.as_u64().or_else(|| value.as_i64().map(i64::cast_unsigned)))
    }

    pub fn count(&mut self, name: &str, range: RangeInclusive<usize>) -> Result<Option<usize>, ApiError> {
        let (least, most) = (*range.start(), *range.end());
        let wanted = match most {
            usize::MAX => format!("a whole number of at least {least}"),
            _ => format!("a whole number from {least} to {most}"),
        };
        let whole = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok()).filter(|number| range.contains(number));
        self.typed(name, &wanted, whole)
    }

    fn typed<T>(&mut self, name: &str, wanted: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<Option<T>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| wrong(&self.path(name), wanted, &value))
    }

    /// Refuses a field that would change the answer in a way that is not to be had, unless it says `neutral`.
    pub fn refuse_unless(&mut self, name: &str, neutral: &[Value]) -> Result<(), ApiError> {
        let Some(value) = self.take(name) else { return Ok(()) };
        let is_neutral = neutral.iter().any(|neutral| *neutral == value || neutral.is_number() && neutral.as_f64() == value.as_f64());
        match is_neutral {
            true => Ok(()),
            false => {
                let path = self.path(name);
                let message = format!("{path}: {} is not supported by this server; leave the field out", shown(&value));
                Err(ApiError::field(path, message).code("unsupported_parameter"))
            }
        }
    }

    /// Refuses what nobody took.
    pub fn finish(self) -> Result<(), ApiError> {
        let Some((name, _)) = self.left.iter().find(|(_, value)| !value.is_null()) else { return Ok(()) };
        let distance = |known: &&String| strsim::damerau_levenshtein(known, name);
        let nearest = self.known.iter().min_by_key(distance).filter(|known| distance(known) <= LARGEST_SLIP);
        let hint = nearest.map_or_else(String::new, |known| format!("; did you mean {known}?"));
        let path = self.path(name);
        Err(ApiError::field(&path, format!("{path}: no such field{hint}")).code("unknown_parameter"))
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// A value of the wrong kind.
pub(super) fn wrong(path: &str, wanted: &str, found: &Value) -> ApiError {
    ApiError::field(path, format!("{path}: expected {wanted}, found {}", shown(found)))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => kind(value).to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        Fields::of(value, "").unwrap()
    }

    fn said<T: std::fmt::Debug>(result: Result<T, ApiError>) -> (String, Value) {
        let body = result.unwrap_err().body();
        (body["error"]["message"].as_str().unwrap().to_owned(), body["error"]["param"].clone())
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named() {
        let mut given = fields(json!({"stream": "yes", "n": 1.5, "m": 9, "top_p": [], "seed": -1, "stop": null}));
        assert_eq!(said(given.boolean("stream")), ("stream: expected true or false, found a string".into(), json!("stream")));
        assert_eq!(said(given.count("n", 1..=8)).0, "n: expected a whole number from 1 to 8, found 1.5");
        assert_eq!(said(given.count("m", 1..=8)).0, "m: expected a whole number from 1 to 8, found 9");
        assert_eq!(said(given.number("top_p")).0, "top_p: expected a number, found a list");
        assert_eq!((given.seed("seed").unwrap(), given.text("stop").unwrap()), (Some(u64::MAX), None));
        assert!(given.finish().is_ok());
    }

    #[test]
    fn a_field_that_nobody_took_is_refused_with_the_name_that_was_meant() {
        let mut given = fields(json!({"temprature": 0, "unknown": null}));
        given.number("temperature").unwrap();
        assert_eq!(said(given.finish()), ("temprature: no such field; did you mean temperature?".into(), json!("temprature")));
        assert!(!said(fields(json!({"x": 1})).finish()).0.contains("mean"));
    }

    #[test]
    fn what_is_not_supported_is_refused_unless_it_changes_nothing() {
        let mut given = fields(json!({"tools": [], "n": 0.0, "functions": [1]}));
        assert!(given.refuse_unless("tools", &[json!([])]).is_ok() && given.refuse_unless("n", &[json!(0)]).is_ok());
        assert!(said(given.refuse_unless("functions", &[json!([])])).0.starts_with("functions: a list is not supported"));
    }

    #[test]
    fn a_body_that_is_no_object_is_refused() {
        assert!(said(Fields::parse(b"{\"a\":")).0.starts_with("the body is no JSON: EOF"));
        assert_eq!(said(Fields::parse(b"[1]")).0, "the body is a list, not an object");
        assert!(said(Fields::parse("[".repeat(100_000).as_bytes())).0.contains("recursion"));
    }
}
