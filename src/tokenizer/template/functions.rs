//! Jinja's operators, filters, tests, functions and methods, each of which counts what it takes before it does what it always did. No value
//! that they make is computed later: what is lazy can be read again and again, or hold on to itself.

use super::budget::{Budget, ENTRY, Result, budget_of, spend};
use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, context, filters, functions, tests};
use std::cmp::Ordering;
use std::sync::Arc;

/// Counts a value.
pub(super) const COUNT: &str = "(count)";
/// Counts a value that is kept in another.
pub(super) const KEEP: &str = "(keep)";
/// Ends a template.
pub(super) const REFUSE: &str = "(refuse)";

/// What a filter or test goes through.
#[derive(Debug, Clone, Copy)]
enum Walk {
    /// Texts alone.
    Texts,
    /// Values with all that they hold.
    Values,
    /// Those, some times over.
    Sort,
}

/// Puts guards in the place of all that could make much of little.
pub(super) fn add_guards(environment: &mut Environment, budget: &Arc<Budget>) {
    environment.add_global(ENTRY, Value::from_dyn_object(budget.clone()));
    add_operators(environment);
    add_functions(environment);
    add_filters(environment);
    add_tests(environment);
    environment.set_formatter(|out, state, value| {
        spend(state, value)?;
        minijinja::escape_formatter(out, state, value)
    });
    environment.set_unknown_method_callback(call_method);
}

fn add_operators(environment: &mut Environment) {
    environment.add_function("+", add);
    environment.add_function("*", multiply);
    environment.add_function("~", |state: &State, left: &Value, right: &Value| {
        spend(state, left)?;
        spend(state, right)?;
        Ok::<_, Error>(format!("{left}{right}"))
    });
    environment.add_function("[]", |state: &State, items: Rest<Value>| {
        keep_all(state, &items)?;
        made(state, Value::from(items.0))
    });
    environment.add_function("{}", |state: &State, items: Rest<Value>| {
        keep_all(state, &items)?;
        let pairs = items.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        made(state, pairs.collect::<Value>())
    });
    environment.add_function("[:]", |state: &State, value: &Value, start: &Value, stop: &Value, step: &Value| {
        budget_of(state)?.walk(value)?;
        made(state, evaluate(state, "value[start:stop:step]", context! { value, start, stop, step })?)
    });
    environment.add_function("(in)", |state: &State, value: &Value, container: &Value| {
        budget_of(state)?.walk(value)?;
        if container.kind() != ValueKind::Map {
            budget_of(state)?.walk(container)?;
        }
        evaluate(state, "value in container", context! { value, container })
    });
    add_comparison(environment, "==", Ordering::is_eq);
    add_comparison(environment, "!=", Ordering::is_ne);
    add_comparison(environment, "<", Ordering::is_lt);
    add_comparison(environment, "<=", Ordering::is_le);
    add_comparison(environment, ">", Ordering::is_gt);
    add_comparison(environment, ">=", Ordering::is_ge);
    environment.add_function(COUNT, |state: &State, value: &Value| budget_of(state)?.walk(value));
    environment.add_function(KEEP, |state: &State, value: &Value| budget_of(state)?.keep(value));
    environment.add_function(REFUSE, |_: Rest<Value>| -> Result<()> {
        Err(invalid("arguments by * and ** and loop.changed with several values are not supported"))
    });
}

/// Two values that are equal need not have an order, and the other way round.
fn add_comparison(environment: &mut Environment, name: &'static str, is_so: fn(Ordering) -> bool) {
    environment.add_function(name, move |state: &State, left: &Value, right: &Value| {
        walk_all(state, &[left, right])?;
        Ok::<_, Error>(match name {
            "==" => left == right,
            "!=" => left != right,
            _ => left.partial_cmp(right).is_some_and(is_so),
        })
    });
}

fn add_functions(environment: &mut Environment) {
    for (name, function) in [
        ("range", Value::from_function(functions::range)),
        ("dict", Value::from_function(functions::dict)),
        ("namespace", Value::from_function(functions::namespace)),
    ] {
        environment.add_function(name, move |state: &State, arguments: Rest<Value>| {
            keep_all(state, &arguments)?;
            made(state, function.call(state, &arguments)?)
        });
    }
    environment.remove_global("debug");
}

/// The built-in filters of these names, each with how much it goes through.
macro_rules! built_in_filters {
    ($($name:literal $filter:ident $walk:ident),* $(,)?) => {
        [$(($name, Value::from_function(filters::$filter), Walk::$walk)),*]
    };
}

fn add_filters(environment: &mut Environment) {
    let filters = built_in_filters![
        "abs" abs Texts, "attr" attr Texts, "bool" bool Texts, "capitalize" capitalize Texts, "count" length Texts, "d" default Texts,
        "default" default Texts, "e" escape Values, "escape" escape Values, "first" first Texts, "float" float Texts, "int" int Texts,
        "length" length Texts, "lower" lower Texts, "round" round Texts, "safe" safe Texts, "split" split Texts, "lines" lines Texts,
        "title" title Texts, "upper" upper Texts, "chain" chain Values, "dictsort" dictsort Sort, "groupby" groupby Sort,
        "items" items Values, "last" last Values, "list" list Values, "map" map Values, "max" max Values, "min" min Values,
        "reject" reject Values, "rejectattr" rejectattr Values, "reverse" reverse Values, "select" select Values,
        "selectattr" selectattr Values, "sort" sort Sort, "sum" sum Values, "unique" unique Sort, "zip" zip Values,
    ];
    for (name, filter, walk) in filters {
        environment.add_filter(name, move |state: &State, arguments: Rest<Value>| {
            count(state, walk, &arguments)?;
            made(state, filter.call(state, &arguments)?)
        });
    }
    let trim = Value::from_function(filters::trim);
    environment.add_filter("trim", move |state: &State, arguments: Rest<Value>| {
        count_trim(state, &arguments)?;
        made(state, trim.call(state, &arguments)?)
    });
    environment.add_filter("replace", replace);
    environment.add_filter("join", join);
    environment.add_filter("string", |state: &State, value: &Value| spend(state, value).map(|()| value.to_string()));
    for name in ["format", "pprint", "indent", "batch", "slice"] {
        environment.remove_filter(name);
    }
}

/// Those that look at more than the kind of a value.
fn add_tests(environment: &mut Environment) {
    let (eq, ne) = (Value::from_function(tests::is_eq), Value::from_function(tests::is_ne));
    let (lt, le) = (Value::from_function(tests::is_lt), Value::from_function(tests::is_le));
    let (gt, ge) = (Value::from_function(tests::is_gt), Value::from_function(tests::is_ge));
    let named = [
        (&["eq", "equalto", "=="][..], eq),
        (&["ne", "!="], ne),
        (&["lt", "lessthan", "<"], lt),
        (&["le", "<="], le),
        (&["gt", "greaterthan", ">"], gt),
        (&["ge", ">="], ge),
        (&["in"], Value::from_function(tests::is_in)),
        (&["startingwith"], Value::from_function(tests::is_startingwith)),
        (&["endingwith"], Value::from_function(tests::is_endingwith)),
        (&["lower"], Value::from_function(tests::is_lower)),
        (&["upper"], Value::from_function(tests::is_upper)),
        (&["filter"], Value::from_function(tests::is_filter)),
        (&["test"], Value::from_function(tests::is_test)),
    ];
    for (names, test) in named {
        for name in names {
            let test = test.clone();
            environment.add_test(*name, move |state: &State, arguments: Rest<Value>| {
                count(state, Walk::Values, &arguments)?;
                Ok::<_, Error>(test.call(state, &arguments)?.is_true())
            });
        }
    }
}

/// Python's methods.
fn call_method(state: &State, value: &Value, method: &str, arguments: &[Value]) -> Result<Value> {
    if !(value.kind() == ValueKind::Map && method == "get") {
        budget_of(state)?.walk(value)?;
    }
    count(state, Walk::Values, arguments)?;
    match (method, value.as_str(), arguments) {
        ("replace", Some(text), [old, new]) => replace(state, text, text_of(old)?, text_of(new)?).map(Value::from),
        ("join", Some(separator), [items]) => join(state, items, Some(separator)).map(Value::from),
        ("replace" | "join" | "format", Some(_), _) => Err(ErrorKind::UnknownMethod.into()),
        ("count", Some(_), [what]) if what.as_str() == Some("") => Err(invalid("an empty text cannot be counted")),
        ("strip" | "lstrip" | "rstrip", Some(_), [characters]) => {
            count_trim(state, &[value.clone(), characters.clone()])?;
            made(state, minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)?)
        }
        _ => made(state, minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)?),
    }
}

fn count(state: &State, walk: Walk, arguments: &[Value]) -> Result<()> {
    let budget = budget_of(state)?;
    let times = match walk {
        Walk::Texts => return budget.glance(arguments),
        Walk::Values => 1,
        Walk::Sort => arguments.first().and_then(Value::len).unwrap_or_default().checked_ilog2().unwrap_or_default() + 1,
    };
    arguments.iter().try_for_each(|argument| (0..times).try_for_each(|_| budget.walk(argument)))
}

/// Each character of a text may be looked for among all that are cut off.
fn count_trim(state: &State, arguments: &[Value]) -> Result<()> {
    let texts: Vec<&str> = arguments.iter().filter_map(Value::as_str).collect();
    match texts[..] {
        [text, characters] => budget_of(state)?.work_through(text, characters.len()),
        _ => budget_of(state)?.glance(arguments),
    }
}

fn walk_all(state: &State, values: &[&Value]) -> Result<()> {
    let budget = budget_of(state)?;
    values.iter().try_for_each(|value| budget.walk(value))
}

fn keep_all(state: &State, values: &[Value]) -> Result<()> {
    let budget = budget_of(state)?;
    values.iter().try_for_each(|value| budget.keep(value))
}

/// Counts a value that was made, which is no longer lazy.
fn made(state: &State, value: Value) -> Result<Value> {
    let budget = budget_of(state)?;
    let value = match value.kind() {
        ValueKind::Iterable => {
            let counted = |item: Value| budget.take(size_of::<Value>()).map(|()| item);
            Value::from(value.try_iter()?.map(counted).collect::<Result<Vec<Value>>>()?)
        }
        _ => value,
    };
    budget.take_made(&value)?;
    Ok(value)
}

/// What an expression that counts nothing is for `values`.
fn evaluate(state: &State, expression: &'static str, values: Value) -> Result<Value> {
    let evaluated = state.env().compile_expression(expression).and_then(|expression| expression.eval(values));
    evaluated.map_err(|error| Error::new(error.kind(), error.detail().unwrap_or_default().to_owned())) // its place is none of the template
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
