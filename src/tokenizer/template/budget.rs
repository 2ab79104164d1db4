//! What a template may take: instructions, and bytes in all the values that it makes. Jinja bounds neither, and thirty additions of a text
//! to itself fill any memory. So the operators that make values bigger, and what is written, count what they are given.
//!
//! In compiled code such an operator becomes a call of a function of its own name, which no template can write.

use minijinja::machinery::{Instruction, Instructions};
use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Result<T> = std::result::Result<T, Error>;

/// Of any chat; templates in use take some thousand instructions and write what they are given a few times over.
const INSTRUCTIONS: u64 = 50_000;
const BYTES: usize = 1 << 22;
/// For each message, and for each of its bytes.
const INSTRUCTIONS_A_MESSAGE: u64 = 1000;
const BYTES_A_BYTE: usize = 64;
/// Bytes of the template's own text that it may write.
const RAW_BYTES: u64 = 1 << 28;
/// Values within values.
const DEEPEST: usize = 32;
/// A value beside what it holds.
const VALUE_BYTES: usize = 16;
/// The environment's entry that filters find the budget by; no name in a template.
const ENTRY: &str = "budget of bytes";

/// Bytes that may still be counted.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: AtomicUsize,
    instructions: u64,
}

impl minijinja::value::Object for Budget {}

impl Budget {
    /// For messages of so many bytes together.
    pub fn for_chat(bytes: usize, messages: usize) -> Self {
        let instructions = INSTRUCTIONS.saturating_add(INSTRUCTIONS_A_MESSAGE.saturating_mul(messages as u64));
        Self { bytes: BYTES.saturating_add(bytes.saturating_mul(BYTES_A_BYTE)).into(), instructions }
    }

    fn take(&self, bytes: usize) -> Result<()> {
        let taken = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        taken.map(|_| ()).map_err(|_| ErrorKind::OutOfFuel.into())
    }

    /// Counts a value with all that it holds.
    fn take_value(&self, value: &Value) -> Result<()> {
        self.take_nested(value, 0)
    }

    fn take_nested(&self, value: &Value, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(ErrorKind::OutOfFuel.into());
        }
        self.take(VALUE_BYTES + value.as_str().map_or(0, str::len))?;
        if matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) {
            for item in value.try_iter()? {
                if value.kind() == ValueKind::Map {
                    self.take_nested(&value.get_item(&item)?, depth + 1)?;
                }
                self.take_nested(&item, depth + 1)?;
            }
        }
        Ok(())
    }
}

/// Whether an error, or what led to it, is that a budget is used up.
pub(super) fn is_exhausted(error: &Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.filter_map(|cause| cause.downcast_ref::<Error>()).any(|error| error.kind() == ErrorKind::OutOfFuel)
}

/// Counts `value`, in a filter or function.
pub(super) fn spend(state: &State, value: &Value) -> Result<()> {
    budget_of(state)?.take_value(value)
}

fn budget_of(state: &State) -> Result<Arc<Budget>> {
    let entry = state.lookup(ENTRY).and_then(|entry| entry.downcast_object::<Budget>());
    entry.ok_or_else(|| ErrorKind::OutOfFuel.into())
}

/// Lets `code` count what it makes; how many instructions it may take.
pub(super) fn guard(code: &mut Instructions, budget: &Budget) -> u64 {
    let mut longest = 1;
    for at in 0..u32::try_from(code.len()).unwrap_or(u32::MAX) {
        let Some(instruction) = code.get_mut(at) else { break };
        match instruction {
            Instruction::Add => *instruction = Instruction::CallFunction("+", Some(2)),
            Instruction::Mul => *instruction = Instruction::CallFunction("*", Some(2)),
            Instruction::StringConcat => *instruction = Instruction::CallFunction("~", Some(2)),
            Instruction::BuildList(Some(count)) if u16::try_from(*count).is_ok() => {
                *instruction = Instruction::CallFunction("[]", u16::try_from(*count).ok());
            }
            Instruction::EmitRaw(text) => longest = longest.max(text.len() as u64),
            _ => {}
        }
    }
    budget.instructions.min(RAW_BYTES / longest)
}

/// The functions that guarded code calls, and filters that could make much of little.
pub(super) fn add_guards(environment: &mut Environment, budget: &Arc<Budget>) {
    environment.add_global(ENTRY, Value::from_dyn_object(budget.clone()));
    environment.add_function("+", add);
    environment.add_function("*", multiply);
    environment.add_function("~", |state: &State, left: &Value, right: &Value| {
        spend(state, left)?;
        spend(state, right)?;
        Ok::<_, Error>(format!("{left}{right}"))
    });
    environment.add_function("[]", |state: &State, items: Rest<Value>| {
        items.iter().try_for_each(|item| spend(state, item))?;
        Ok::<_, Error>(Value::from(items.0))
    });
    environment.add_filter("replace", replace);
    environment.add_filter("join", join);
    environment.add_filter("string", |state: &State, value: &Value| spend(state, value).map(|()| value.to_string()));
    for name in ["format", "pprint", "indent", "batch", "slice"] {
        environment.remove_filter(name);
    }
    environment.set_formatter(|out, state, value| {
        spend(state, value)?;
        minijinja::escape_formatter(out, state, value)
    });
    environment.set_unknown_method_callback(|state, value, method, arguments| {
        spend(state, value)?;
        match (method, value.as_str(), arguments) {
            ("replace", Some(text), [old, new]) => replace(state, text, text_of(old)?, text_of(new)?).map(Value::from),
            ("join", Some(separator), [items]) => join(state, items, Some(separator)).map(Value::from),
            ("replace" | "join" | "format", Some(_), _) => Err(ErrorKind::UnknownMethod.into()),
            _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments),
        }
    });
}

fn text_of(value: &Value) -> Result<&str> {
    value.as_str().ok_or_else(|| invalid("a text is needed"))
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, what)
}

fn add(state: &State, left: &Value, right: &Value) -> Result<Value> {
    spend(state, left)?;
    spend(state, right)?;
    if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
        return Ok(Value::from([left, right].concat()));
    }
    let is_list = |value: &Value| matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
    if is_list(left) && is_list(right) {
        return Ok(left.try_iter()?.chain(right.try_iter()?).collect());
    }
    calculate(left, right, i64::checked_add, |left, right| left + right)
}

fn multiply(state: &State, left: &Value, right: &Value) -> Result<Value> {
    if let (Some(text), Some(count)) = (left.as_str(), right.as_usize()) {
        budget_of(state)?.take(text.len().saturating_mul(count))?;
        return Ok(Value::from(text.repeat(count)));
    }
    calculate(left, right, i64::checked_mul, |left, right| left * right)
}

fn calculate(left: &Value, right: &Value, whole: fn(i64, i64) -> Option<i64>, real: fn(f64, f64) -> f64) -> Result<Value> {
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        return whole(left, right).map(Value::from).ok_or_else(|| invalid("a number is too large"));
    }
    Ok(Value::from(real(f64::try_from(left.clone())?, f64::try_from(right.clone())?)))
}

fn replace(state: &State, text: &str, old: &str, new: &str) -> Result<String> {
    let growth = text.matches(old).count().saturating_mul(new.len());
    budget_of(state)?.take(text.len().saturating_add(growth))?;
    Ok(text.replace(old, new))
}

fn join(state: &State, items: &Value, separator: Option<&str>) -> Result<String> {
    let (mut text, separator) = (String::new(), separator.unwrap_or_default());
    for (index, item) in items.try_iter()?.enumerate() {
        spend(state, &item)?;
        budget_of(state)?.take(separator.len())?;
        text += if index == 0 { "" } else { separator };
        text += &item.to_string();
    }
    Ok(text)
}
