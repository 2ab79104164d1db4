//! From a path or a name to a resolved experiment: finds the file, refuses hostile ones, checks, applies overrides, validates.
//! Every error names the file with line and column, or the flag. Where a run keeps its copy is `run`'s business.

use super::check::{Finding, check, stop_at};
use super::hostile::{LARGEST_FILE, refuse_hostile};
use super::keys::{nearest, schema};
use super::overrides::{Assignment, apply};
use super::schema::quoted;
use super::{Experiment, Overrides};
use crate::{Context, Error, Result};
use serde::de::IgnoredAny;
use serde_yaml::{Deserializer, Value};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where experiments are looked up by name.
const EXPERIMENTS_DIR: &str = "experiments";
/// The file inside an experiment's directory.
const FILE_NAME: &str = "config.yaml";

/// An experiment with what its user should hear.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// Complete, checked, with overrides applied.
    pub experiment: Experiment,
    /// The file that it came from.
    pub config_path: PathBuf,
    /// Sentences for stderr: what was adjusted, what is allowed but unlikely to be meant.
    pub warnings: Vec<String>,
}

/// Loads an experiment and drops the warnings; see [`resolve`].
///
/// # Errors
/// As [`resolve`].
pub fn load(path: impl AsRef<Path>, overrides: &Overrides) -> Result<Experiment> {
    resolve(path, overrides).map(|resolved| resolved.experiment)
}

/// Loads an experiment from a directory with a `config.yaml`, from a YAML file, or by its name under `experiments/`.
///
/// A warm-up that a shorter `train.num_steps` of the overrides leaves above a tenth of the steps is cut to that tenth.
///
/// # Errors
/// The user's, with file, line, column and hint: a file that is not there, too large or no YAML; a key that is unknown, missing,
/// written twice or of the wrong type; a value that [`Experiment::validate`] refuses; a flag that does not fit.
pub fn resolve(path: impl AsRef<Path>, overrides: &Overrides) -> Result<Resolved> {
    let config_path = find_config(path.as_ref())?;
    let text = read_capped(&config_path)?;
    let source = Source { name: config_path.display().to_string(), text: &text };
    let (experiment, mut warnings) = source.resolve(overrides)?;
    warnings.extend(experiment.warnings());
    Ok(Resolved { experiment, config_path, warnings })
}

impl Experiment {
    /// Reads what [`Experiment::to_yaml`] wrote, or any config. `name` stands for the file in messages.
    ///
    /// # Errors
    /// As [`resolve`], but for the file.
    pub fn from_yaml(text: &str, name: &str) -> Result<Self> {
        let source = Source { name: name.to_string(), text };
        source.resolve(&Overrides::default()).map(|(experiment, _)| experiment)
    }

    /// The experiment as a config.yaml that loads back as the same value.
    ///
    /// # Errors
    /// Ours, if the serializer fails.
    pub fn to_yaml(&self) -> Result<String> {
        serde_yaml::to_string(self).context(|| "writing the experiment as YAML")
    }
}

/// The text of a config, and what messages call it.
struct Source<'a> {
    name: String,
    text: &'a str,
}

impl Source<'_> {
    fn resolve(&self, overrides: &Overrides) -> Result<(Experiment, Vec<String>)> {
        let assignments = overrides.assignments()?;
        let document = self.overridden(&assignments)?;
        let mut experiment = self.typed(document)?;
        let warnings = shorten_warmup(&mut experiment, &assignments);
        match experiment.first_problem() {
            None => Ok((experiment, warnings)),
            Some(problem) => {
                let place = self.place_of(&problem.key, &assignments);
                Err(Error::input(format!("{place}: {}", problem.message)).hint(problem.cure))
            }
        }
    }

    /// The checked document with every assignment in it.
    fn overridden(&self, assignments: &[Assignment]) -> Result<Value> {
        refuse_hostile(self.text, &self.name)?;
        serde_yaml::from_str::<IgnoredAny>(self.text).map_err(|error| self.error_at(None, &error))?;
        check(schema()?, "", Deserializer::from_str(self.text)).map_err(|stopped| self.error_at(stopped.finding, &stopped.error))?;
        let mut document: Value = serde_yaml::from_str(self.text).map_err(|error| self.error_at(None, &error))?;
        refuse_text_flags(&document, assignments)?;
        apply(&mut document, schema()?, assignments);
        match check(schema()?, "", &document) {
            Ok(()) => Ok(document),
            Err(stopped) => Err(self.error_with_flags(stopped.finding, &stopped.error, assignments)),
        }
    }

    fn typed(&self, document: Value) -> Result<Experiment> {
        serde_path_to_error::deserialize(document)
            .map_err(|error| Error::input(format!("{}: `{}`: {}", self.name, error.path(), error.inner())))
    }

    fn error_at(&self, finding: Option<Finding>, error: &serde_yaml::Error) -> Error {
        let place = self.position(error);
        match finding {
            Some(Finding { message, hint: Some(hint) }) => Error::input(format!("{place}: {message}")).hint(hint),
            Some(Finding { message, hint: None }) => Error::input(format!("{place}: {message}")),
            None => Error::input(format!("{place}: this is no valid YAML: {error}")),
        }
    }

    fn error_with_flags(&self, finding: Option<Finding>, error: &serde_yaml::Error, assignments: &[Assignment]) -> Error {
        let flags: Vec<&str> = assignments.iter().map(|assignment| assignment.flag.as_str()).collect();
        let finding = finding.unwrap_or_else(|| Finding { message: error.to_string(), hint: None });
        let message = format!("{} with {}: {}", self.name, flags.join(" "), finding.message);
        Error::input(message).hint(finding.hint.unwrap_or_else(|| "the flags leave the config incomplete".to_string()))
    }

    /// `file:line:column`.
    fn position(&self, error: &serde_yaml::Error) -> String {
        match error.location() {
            Some(location) => format!("{}:{}:{}", self.name, location.line(), location.column()),
            None => self.name.clone(),
        }
    }

    /// The flag that set `key`, or its position in the file.
    fn place_of(&self, key: &str, assignments: &[Assignment]) -> String {
        let sets_it = |assignment: &&Assignment| {
            let below = key.strip_prefix(assignment.key.as_str());
            below.is_some_and(|below| below.is_empty() || below.starts_with(['.', '[']))
        };
        match assignments.iter().rev().find(sets_it) {
            Some(assignment) => assignment.flag.clone(),
            None => match schema().ok().and_then(|schema| stop_at(schema, key, Deserializer::from_str(self.text))) {
                Some(error) => self.position(&error),
                None => self.name.clone(),
            },
        }
    }
}

/// Files of text mean nothing to an experiment that makes its own problems.
fn refuse_text_flags(document: &Value, assignments: &[Assignment]) -> Result<()> {
    let has_text = document.get("data").is_some_and(|data| data.get("text").is_some());
    let is_of_text = |assignment: &&Assignment| assignment.flag.starts_with("--data ") || assignment.flag.starts_with("--tokenizer ");
    match assignments.iter().find(is_of_text) {
        Some(assignment) if !has_text && !assignments.iter().any(|other| other.key == "data") => {
            let name = document.get("experiment").and_then(Value::as_str).unwrap_or_default();
            let flag = assignment.flag.split_once(' ').map_or(assignment.flag.as_str(), |(flag, _)| flag);
            let message = format!("{flag}: the experiment `{name}` learns no text: it makes its own problems");
            Err(Error::input(message).hint("name an experiment on text, such as tinystories or shakespeare"))
        }
        _ => Ok(()),
    }
}

/// A shorter run keeps the shape of its schedule: warm-up is at most a tenth of the steps that a flag asked for.
fn shorten_warmup(experiment: &mut Experiment, assignments: &[Assignment]) -> Vec<String> {
    let is_set = |key: &str| assignments.iter().any(|assignment| assignment.key == key);
    let tenth = experiment.train.num_steps / 10;
    let warmup_steps = &mut experiment.train.schedule.warmup_steps;
    if !is_set("train.num_steps") || is_set("train.schedule.warmup_steps") || *warmup_steps <= tenth {
        return Vec::new();
    }
    let written = std::mem::replace(warmup_steps, tenth);
    vec![format!("train.schedule.warmup_steps is {tenth} instead of {written}, a tenth of the {} steps", experiment.train.num_steps)]
}

/// The file that `path` means.
fn find_config(path: &Path) -> Result<PathBuf> {
    let candidates = [path.to_path_buf(), path.join(FILE_NAME), Path::new(EXPERIMENTS_DIR).join(path).join(FILE_NAME)];
    let found = candidates.into_iter().find(|candidate| candidate.is_file());
    found.or_else(|| find_by_prefix(path)).ok_or_else(|| not_found(path))
}

/// The experiment whose name alone begins so: `baseline` for `baseline-95m`.
fn find_by_prefix(path: &Path) -> Option<PathBuf> {
    let prefix = path.to_str().filter(|prefix| !prefix.is_empty())?;
    let mut names = experiment_names();
    names.retain(|name| name.starts_with(prefix));
    let [name] = &names[..] else { return None };
    Some(Path::new(EXPERIMENTS_DIR).join(name).join(FILE_NAME))
}

fn not_found(path: &Path) -> Error {
    let error = Error::input(format!("{}: no config.yaml there, and no experiment of that name", path.display()));
    let names = experiment_names();
    let written = path.file_name().unwrap_or_default().to_string_lossy();
    match nearest(&written, names.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None if names.is_empty() => error.hint(format!("there is no {EXPERIMENTS_DIR}/ here: run it from the root of the project")),
        None => error.hint(format!("the experiments are {}", quoted(names.iter().map(String::as_str)))),
    }
}

fn experiment_names() -> Vec<String> {
    let entries = std::fs::read_dir(EXPERIMENTS_DIR).into_iter().flatten().flatten();
    let experiments = entries.filter(|entry| entry.path().join(FILE_NAME).is_file());
    let mut names: Vec<String> = experiments.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The text of a file, never more than [`LARGEST_FILE`] bytes of it.
fn read_capped(path: &Path) -> Result<String> {
    let reading = || format!("reading {}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).context(reading).map_err(Error::blame_input)?;
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).context(reading)?;
    if bytes.len() as u64 > LARGEST_FILE {
        let message = format!("{}: larger than {LARGEST_FILE} bytes, which no config is", path.display());
        return Err(Error::input(message).hint("is this the right file?"));
    }
    String::from_utf8(bytes).map_err(|error| Error::input(format!("{}: {error}", path.display())).hint("save it as UTF-8"))
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
