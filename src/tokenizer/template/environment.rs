//! What Jinja is to a chat template, as transformers has it: its settings, its functions, and JSON as Python writes it.

use super::budget::{self, Budget};
use super::functions::add_guards;
use super::guard::{fuel, guarded};
use super::json::PythonFormatter;
use super::message::Message;
use super::nesting;
use crate::{Error, Result};
use minijinja::machinery::{CodeGenerator, Instructions, Vm, WhitespaceConfig, make_string_output, parse};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, ErrorKind, State, context};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// As messages name the template.
const NAME: &str = "chat template";
/// Bytes of the longest template; those in use have some thousands.
const LONGEST_SOURCE: usize = 1 << 18;

type JinjaResult<T> = std::result::Result<T, minijinja::Error>;

/// What a template says that it cannot take.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn check_length(source: &str) -> Result<()> {
    match source.len() > LONGEST_SOURCE {
        true => Err(Error::input(format!("the chat template has {} bytes, more than {LONGEST_SOURCE}", source.len()))),
        false => Ok(()),
    }
}

/// Refuses what is no template.
pub(super) fn check(source: &str) -> Result<()> {
    check_length(source)?;
    parsed(&without_generation_marks(source)).map(drop).map_err(|error| failure(&error))
}

/// Runs a template.
pub(super) fn render(source: &str, messages: &[Message], add_generation_prompt: bool, tokens: &BTreeMap<String, String>) -> Result<String> {
    check_length(source)?;
    let given = messages.iter().map(|message| message.content.len()).sum();
    let budget = Arc::new(Budget::for_chat(given, messages.len()));
    let values = context! { messages, add_generation_prompt, tools => (), documents => (), ..Value::from_serialize(tokens) };
    let mut environment = environment(&budget);
    let source = without_generation_marks(source);
    let (main, blocks) = parsed(&source).map_err(|error| failure(&error))?;
    let (main, blocks) = (guarded(&main), blocks.iter().map(|(name, code)| (*name, guarded(code))).collect());
    environment.set_fuel(Some(fuel_of_all(&main, &blocks, &budget)));
    let mut text = String::new();
    let mut output = make_string_output(&mut text);
    let rendered = Vm::new(&environment).eval(&main, values, &blocks, &mut output, AutoEscape::None).map(|_| ());
    drop(output);
    rendered.map(|()| text).map_err(|error| failure(&error))
}

type Blocks<'a> = BTreeMap<&'a str, Instructions<'a>>;
type Code<'a> = (Instructions<'a>, Blocks<'a>);

fn fuel_of_all(main: &Instructions<'_>, blocks: &Blocks<'_>, budget: &Budget) -> u64 {
    blocks.values().map(|code| fuel(code, budget)).fold(fuel(main, budget), u64::min)
}

fn parsed(source: &str) -> JinjaResult<Code<'_>> {
    let spaces = WhitespaceConfig { keep_trailing_newline: false, lstrip_blocks: true, trim_blocks: true };
    nesting::check(source, NAME)?;
    let tree = parse(source, NAME, SyntaxConfig, spaces)?;
    let mut generator = CodeGenerator::new(NAME, source);
    generator.compile_stmt(&tree);
    Ok(generator.finish())
}

fn environment(budget: &Arc<Budget>) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_debug(true);
    environment.add_function("raise_exception", |message: String| -> JinjaResult<()> {
        Err(minijinja::Error::from(ErrorKind::InvalidOperation).with_source(Raised(message)))
    });
    environment.add_function("strftime_now", |format: &str| {
        let now = jiff::fmt::strtime::format(format, &jiff::Zoned::now());
        now.map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
    });
    environment.add_filter("tojson", to_json);
    add_guards(&mut environment, budget);
    environment
}

/// JSON as Python's `json.dumps` writes it; the filter of the library escapes it for HTML.
fn to_json(state: &State, value: &Value, indent: Option<usize>, options: Kwargs) -> JinjaResult<String> {
    budget::spend(state, value)?;
    let indent = indent.or(options.get("indent")?);
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, PythonFormatter::new(indent));
    let written = value.serialize(&mut serializer).map_err(|error| error.to_string());
    let text = written.and_then(|()| String::from_utf8(json).map_err(|error| error.to_string()));
    text.map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error))
}

/// What training looks at, `{% generation %}`, means nothing here.
fn without_generation_marks(source: &str) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let tag = rest[at..].find("%}").map_or(&rest[at..], |end| &rest[at..at + end]);
        let name = tag[2..].trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        kept += &rest[..at];
        kept += &match name {
            "generation" => tag.replace("generation", "if true"),
            "endgeneration" => tag.replace("endgeneration", "endif"),
            _ => tag.to_owned(),
        };
        rest = &rest[at + tag.len()..];
    }
    kept + rest
}

fn failure(error: &minijinja::Error) -> Error {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    for cause in causes {
        if let Some(Raised(message)) = cause.downcast_ref() {
            return Error::input(format!("the chat template refuses the messages: {message}"));
        }
    }
    let hint = "another template can be chosen with --template, such as --template chatml";
    if budget::is_exhausted(error) {
        return Error::input("the chat template runs or grows without end").hint(hint);
    }
    Error::input(error).hint(hint)
}
