//! What this machine has for this program, and what is wrong with it: one line a check, with what to type where something is. Here is
//! the list of all; `check` is one line, each other file owns a group, which looks at the machine and then judges what was found, so that
//! every verdict can be had from facts made by hand.

mod check;
mod libtorch;
mod memory;
mod places;
mod processor;
mod tools;

pub use check::{Check, Verdict};

use crate::Result;
use crate::report::{Emphasis, Styled};
use serde::Serialize;
use std::path::PathBuf;

/// All checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// In the order of the lines.
    pub checks: Vec<Check>,
}

/// Where to look.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The top of the tree: where experiments, libtorch and data lie.
    pub root: PathBuf,
    /// Where runs are written.
    pub runs_dir: PathBuf,
}

impl Diagnosis {
    /// Looks at this machine.
    pub fn of(surroundings: &Surroundings) -> Self {
        let Surroundings { root, runs_dir } = surroundings;
        let tools = tools::Tools::find();
        let libtorch = libtorch::Libtorch::find(root);
        let processor = processor::Processor::find();
        let memory = memory::Memory::find(root, processor.training_kernels());
        let places = places::Places::find(root, runs_dir);
        let mut checks = tools.checks(libtorch.is_whole());
        checks.push(libtorch.check());
        checks.extend(processor.checks());
        checks.extend(memory.checks());
        checks.extend(places.checks(libtorch.is_whole()));
        Self { checks }
    }

    /// Whether everything will work.
    pub fn is_fine(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Error)
    }

    /// A line a check.
    pub fn lines(&self) -> Styled {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or(0) + 2;
        let mut lines = Styled::default();
        for Check { name, verdict, finding, cure } in &self.checks {
            let (word, emphasis) = verdict.shown();
            lines.push(emphasis, word).push(Emphasis::Plain, " ".repeat("warning  ".len() - word.len()));
            lines.push(Emphasis::Plain, format!("{name:width$}{}", on_one_line(finding)));
            if let Some(cure) = cure {
                lines.push(Emphasis::Plain, "; type: ").push(Emphasis::Bold, on_one_line(cure));
            }
            lines.end_line();
        }
        lines
    }

    /// The same for programs.
    ///
    /// # Errors
    /// Ours: JSON cannot be written.
    pub fn to_json(&self) -> Result<String> {
        #[derive(Serialize)]
        struct All<'a> {
            works: bool,
            checks: &'a [Check],
        }
        Ok(serde_json::to_string_pretty(&All { works: self.is_fine(), checks: &self.checks })?)
    }
}

/// What other programs and files say may have line breaks and more.
fn on_one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests;
