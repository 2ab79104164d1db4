//! What a template may take: instructions, bytes in all the values that it makes, steps inside what one instruction does, and time. Jinja
//! bounds none of them, and thirty additions of a text to itself fill any memory. Who counts what is the business of `guard` and
//! `functions`.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(super) type Result<T> = std::result::Result<T, Error>;

/// Of any chat; templates in use take some thousand instructions and write what they are given a few times over.
const INSTRUCTIONS: u64 = 60_000;
const BYTES: u64 = 1 << 22;
const STEPS: u64 = 4_000_000;
/// For each message, and for each of its bytes.
const INSTRUCTIONS_A_MESSAGE: u64 = 1000;
const STEPS_A_MESSAGE: u64 = 20_000;
const BYTES_A_BYTE: u64 = 64;
/// Bytes of the template's own text that it may write.
const RAW_BYTES: u64 = 1 << 28;
/// Values within values.
const DEEPEST: usize = 32;
/// A value beside what it holds.
const VALUE_BYTES: u64 = 32;
/// Bytes of a text that are walked through in the time of one other step.
const BYTES_A_STEP: u64 = 64;
/// The last resort, should something not be counted.
const LONGEST: Duration = Duration::from_secs(20);
/// The environment's entry that filters find the budget by; no name in a template.
pub(super) const ENTRY: &str = "budget of bytes";
/// Where minijinja keeps the types of macros and loops.
const MACHINERY: &str = "minijinja::vm::";

/// What may still be counted.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: AtomicU64,
    steps: AtomicU64,
    instructions: u64,
    deadline: Instant,
}

impl minijinja::value::Object for Budget {}

impl Budget {
    /// For messages of so many bytes together.
    pub fn for_chat(bytes: usize, messages: usize) -> Self {
        let (bytes, messages) = (bytes as u64, messages as u64);
        Self {
            bytes: BYTES.saturating_add(bytes.saturating_mul(BYTES_A_BYTE)).into(),
            steps: STEPS.saturating_add(bytes).saturating_add(messages.saturating_mul(STEPS_A_MESSAGE)).into(),
            instructions: INSTRUCTIONS.saturating_add(INSTRUCTIONS_A_MESSAGE.saturating_mul(messages)),
            deadline: Instant::now() + LONGEST,
        }
    }

    /// How many instructions code may take whose longest text of its own has so many bytes.
    pub fn instructions(&self, longest_text: u64) -> u64 {
        self.instructions.min(RAW_BYTES / longest_text.max(1))
    }

    /// Counts bytes that are made.
    pub fn take(&self, bytes: usize) -> Result<()> {
        spent(&self.bytes, bytes as u64)
    }

    /// Counts steps that are done.
    pub fn work(&self, steps: u64) -> Result<()> {
        if Instant::now() >= self.deadline {
            return Err(exhausted());
        }
        spent(&self.steps, steps)
    }

    /// Counts the steps through a text so many times.
    pub fn work_through(&self, text: &str, times: usize) -> Result<()> {
        self.work(1 + (text.len() as u64).saturating_mul(times as u64) / BYTES_A_STEP)
    }

    /// Counts the bytes of a value with all that it holds.
    pub fn take_value(&self, value: &Value) -> Result<()> {
        self.each(value, DEEPEST, &mut |value| self.take(own_bytes(value)))
    }

    /// Counts the bytes of a new list whose items may be shared with others; texts may be new ones.
    pub fn take_made(&self, value: &Value) -> Result<()> {
        let count = |value: &Value| self.take(own_bytes(value));
        count(value)?;
        for_each_inner(value, |item| {
            count(item)?;
            for_each_inner(item, |inner| self.take(VALUE_BYTES as usize + inner.as_str().map_or(0, |_| 1)))
        })
    }

    /// Counts the steps through a value with all that it holds.
    pub fn walk(&self, value: &Value) -> Result<()> {
        self.each(value, DEEPEST, &mut |value| self.work(own_steps(value)))
    }

    /// [`Self::walk`], for a value that is kept in another: no macro and no loop, which could hold on to the value that they are kept in.
    pub fn keep(&self, value: &Value) -> Result<()> {
        self.each(value, DEEPEST, &mut |value| match is_machinery(value) {
            true => Err(Error::new(ErrorKind::InvalidOperation, "a macro or a loop cannot be kept in a value")),
            false => self.work(own_steps(value)),
        })
    }

    /// Counts the steps through the texts among `values`, and one for each of the others.
    pub fn glance(&self, values: &[Value]) -> Result<()> {
        values.iter().try_for_each(|value| self.work(own_steps(value)))
    }

    /// Calls `count` with a value and all that it holds.
    fn each(&self, value: &Value, levels: usize, count: &mut dyn FnMut(&Value) -> Result<()>) -> Result<()> {
        count(value)?;
        let levels = levels.checked_sub(1);
        for_each_inner(value, |inner| self.each(inner, levels.ok_or_else(exhausted)?, count))
    }
}

fn spent(left: &AtomicU64, amount: u64) -> Result<()> {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount));
    taken.map(drop).map_err(|_| exhausted())
}

fn exhausted() -> Error {
    ErrorKind::OutOfFuel.into()
}

fn own_bytes(value: &Value) -> usize {
    VALUE_BYTES as usize + value.as_str().map_or(0, str::len)
}

fn own_steps(value: &Value) -> u64 {
    1 + value.as_str().map_or(0, |text| text.len() as u64 / BYTES_A_STEP)
}

/// Whether it is a macro, a loop or the like, which hold values that no walk sees.
fn is_machinery(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().starts_with(MACHINERY))
}

/// Keys and items of a list or map.
fn for_each_inner(value: &Value, mut each: impl FnMut(&Value) -> Result<()>) -> Result<()> {
    let kind = value.kind();
    if !matches!(kind, ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) || is_machinery(value) {
        return Ok(());
    }
    for item in value.try_iter()? {
        if kind == ValueKind::Map {
            each(&value.get_item(&item)?)?;
        }
        each(&item)?;
    }
    Ok(())
}

/// Whether an error, or what led to it, is that a budget is used up.
pub(super) fn is_exhausted(error: &Error) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.filter_map(|cause| cause.downcast_ref::<Error>()).any(|error| error.kind() == ErrorKind::OutOfFuel)
}

/// Counts the bytes of `value`, in a filter or function.
pub(super) fn spend(state: &State, value: &Value) -> Result<()> {
    budget_of(state)?.take_value(value)
}

/// The budget of the template that is running.
pub(super) fn budget_of(state: &State) -> Result<Arc<Budget>> {
    let entry = state.lookup(ENTRY).and_then(|entry| entry.downcast_object::<Budget>());
    entry.ok_or_else(exhausted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_amounts_ends_on_its_own() {
        let budget = Budget::for_chat(0, 0);
        assert!(budget.take(BYTES as usize).is_ok() && budget.take(1).is_err());
        assert!(budget.work(STEPS).is_ok() && budget.work(1).is_err());
        let late = Budget { deadline: Instant::now(), ..Budget::for_chat(0, 0) };
        assert!(is_exhausted(&late.work(1).unwrap_err()));
    }

    #[test]
    fn a_walk_takes_a_step_a_value_and_one_for_some_bytes_of_a_text() {
        let steps = |value: Value| {
            let budget = Budget::for_chat(0, 0);
            budget.walk(&value).unwrap();
            STEPS - budget.steps.into_inner()
        };
        assert_eq!([steps(Value::from(1)), steps(Value::from("a".repeat(640)))], [1, 11]);
        assert_eq!(steps(Value::from_serialize([[1, 2], [3, 4]])), 7);
        assert_eq!(steps(minijinja::context! { a => 1, b => "x" }), 5);
    }
}
