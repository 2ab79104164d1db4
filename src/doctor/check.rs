//! One line of the diagnosis: what was looked at, the verdict, and what to type.

use crate::report::Emphasis;
use serde::Serialize;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All is well.
    Ok,
    /// It works, but not as well as it could.
    Warning,
    /// Something will not work.
    Error,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found, as a sentence without its full stop.
    pub finding: String,
    /// What to type, if anything is to be done.
    #[serde(rename = "type")]
    pub cure: Option<String>,
}

impl Check {
    pub(super) fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, finding: finding.into(), cure: None }
    }

    pub(super) fn warning(name: &'static str, finding: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning, finding: finding.into(), cure: Some(cure.into()) }
    }

    pub(super) fn error(name: &'static str, finding: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { verdict: Verdict::Error, ..Self::warning(name, finding, cure) }
    }
}

impl Verdict {
    pub(super) fn shown(self) -> (&'static str, Emphasis) {
        match self {
            Self::Ok => ("ok", Emphasis::Good),
            Self::Warning => ("warning", Emphasis::Warning),
            Self::Error => ("error", Emphasis::Bad),
        }
    }
}

/// `22.9 GB`: sizes of memory and disks need no more digits.
pub(super) fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// A variable of the environment that says something.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
