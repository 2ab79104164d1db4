//! Where code asks about some values of an enum and not about the others: wildcard arms, `==`, `!=` and `matches!`. Enums are known by their
//! names, values by `Enum::Value`, by `Self::Value` where the enum is, and by imports of values.

use super::words::{is_name, path_from, split_imports, words};
use std::collections::BTreeSet;

/// What code asks about the values of `enums`, without asking about all: each as one line of words.
pub fn partial_questions(code: &str, enums: &[&str]) -> Vec<String> {
    let words = words(code);
    let values = Values::new(&words, enums);
    let mut found = Vec::new();
    for (at, &word) in words.iter().enumerate() {
        match word {
            "==" | "!=" if values.is_one(&before(&words, at)) || values.is_one(&after(&words, at)) => {
                found.push(words[at.saturating_sub(5)..(at + 5).min(words.len())].join(" "));
            }
            "matches" if words.get(at + 1) == Some(&"!") => {
                let call = &words[at..group_end(&words, at + 2)];
                found.extend(values.are_in(call).then(|| call.join(" ")));
            }
            "match" => {
                let arms = patterns(&words[at..]);
                let is_partial = arms.iter().any(|arm| is_wildcard(arm)) && arms.iter().any(|arm| values.are_in(arm));
                found.extend(is_partial.then(|| arms.iter().map(|arm| arm.join(" ")).collect::<Vec<_>>().join(" => ")));
            }
            _ => {}
        }
    }
    found
}

/// The values of some enums, as a file writes them.
struct Values<'a> {
    enums: &'a [&'a str],
    /// Those that need no name of an enum before them.
    imported: BTreeSet<String>,
    /// Those behind `Self::`.
    own: BTreeSet<String>,
}

impl<'a> Values<'a> {
    fn new(words: &[&str], enums: &'a [&'a str]) -> Self {
        let is_value = |path: &[String]| path.len() > 1 && enums.contains(&path[path.len() - 2].as_str());
        let imports = split_imports(words).0.into_iter().filter(|import| is_value(&import.path));
        let definitions = (1..words.len()).filter(|&at| words[at - 1] == "enum" && enums.contains(&words[at]));
        let own = definitions.flat_map(|at| &words[at..group_end(words, at + 1)]).map(|word| (*word).to_owned());
        Self { enums, imported: imports.map(|import| import.name).collect(), own: own.collect() }
    }

    fn is_one(&self, path: &[String]) -> bool {
        match path {
            [name] => self.imported.contains(name),
            [.., parent, name] => self.enums.contains(&parent.as_str()) || parent == "Self" && self.own.contains(name),
            [] => false,
        }
    }

    fn are_in(&self, words: &[&str]) -> bool {
        let starts = (0..words.len()).filter(|&at| is_name(words[at]) && (at == 0 || words[at - 1] != "::"));
        starts.into_iter().any(|at| self.is_one(&path_from(words, at)))
    }
}

fn after(words: &[&str], at: usize) -> Vec<String> {
    let start = (at + 1..words.len()).find(|&at| !matches!(words[at], "&" | "*" | "(" | "Some"));
    start.map_or(Vec::new(), |start| path_from(words, start))
}

fn before(words: &[&str], at: usize) -> Vec<String> {
    let mut start = at - 1;
    while start > 1 && words[start - 1] == "::" {
        start -= 2;
    }
    path_from(&words[..at], start)
}

/// Where the group that opens at `at`, or behind it, has closed.
fn group_end(words: &[&str], at: usize) -> usize {
    let mut depth = 0;
    for (place, &word) in words.iter().enumerate().skip(at) {
        depth += i32::from(matches!(word, "{" | "(" | "[")) - i32::from(matches!(word, "}" | ")" | "]"));
        if depth == 0 && matches!(word, "}" | ")" | "]") {
            return place + 1;
        }
    }
    words.len()
}

/// The patterns of the `match` that `words` begin with, without their conditions.
fn patterns<'a>(words: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut patterns = Vec::new();
    let mut at = 1;
    while at < words.len() && words[at] != "{" {
        at = if matches!(words[at], "(" | "[") { group_end(words, at) } else { at + 1 };
    }
    let end = group_end(words, at).saturating_sub(1);
    at += 1;
    while at < end {
        let arrow = (at..end).find(|&place| words[place] == "=>").unwrap_or(end);
        let pattern = words[at..arrow].iter().copied().take_while(|word| *word != "if").collect();
        patterns.push(pattern);
        at = arrow + 1;
        if words.get(at) == Some(&"{") {
            at = group_end(words, at);
        } else {
            while at < end && words[at] != "," {
                at = if matches!(words[at], "{" | "(" | "[") { group_end(words, at) } else { at + 1 };
            }
        }
        at += usize::from(words.get(at) == Some(&","));
    }
    patterns
}

/// Whether a pattern takes what no other has taken: `_`, `other`, `(_, _)`.
fn is_wildcard(pattern: &[&str]) -> bool {
    let is_binding = |word: &str| word.starts_with(|c: char| c.is_lowercase()) && !matches!(word, "true" | "false");
    match pattern {
        [name] => *name == "_" || is_binding(name),
        _ => !pattern.is_empty() && pattern.iter().all(|word| matches!(*word, "_" | "(" | ")" | ",")),
    }
}

#[test]
fn a_partial_question_is_noticed_however_it_is_asked() {
    for asked in [
        "match act { Activation::Relu2 => 1, _ => 2 }",
        "match (act, is_fast(1)) { (Activation::Relu2, true) => { f(1, 2) } (_, _) if x => 2, other => g(other) }",
        "use crate::config::Activation::{Relu2, Silu as Other}; fn f() { match act { Other => 1, _ => 2 } }",
        "enum Activation { Relu2, Silu } impl Activation { fn f(self) { self == Self::Relu2 } }",
        "let x = layer.act != config::Activation::Relu2;",
        "if Activation::Relu2 == act {}",
        "if act == Some(&Activation::Relu2) {}",
        "matches!(model.act, Some(Activation::Relu2 | Activation::Silu))",
    ] {
        assert_eq!(partial_questions(asked, &["Activation"]).len(), 1, "{asked}");
    }
    for asked in [
        "match act { Activation::Relu2 => match x { 1 => 2, _ => 3 }, Activation::Silu => 2 }",
        "match act { Activation::Relu2 | Activation::Silu => 1 }",
        "match Activation::Relu2 { other => 1 }",
        "matches!(other, Other::Relu2) && other == Self::Relu2",
    ] {
        assert_eq!(partial_questions(asked, &["Activation"]), [""; 0], "{asked}");
    }
}
