//! Which model, and how it is loaded.

use super::from_hub::fetch_model;
use super::here::name_from_here;
use super::missing::{missing, not_on_hub};
use super::names::owner_and_name;
use crate::data::hub::Environment;
use crate::inference::{CacheFormat, Engine, HeadFormat, LoadOptions};
use crate::run::{DamagedCheckpoint, model_folder};
use crate::storage::DISK;
use crate::{Error, Result};
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};

/// How a model is found and loaded. Its name is an argument of the binary's own.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelArguments {
    /// Threads that compute; all processors when absent
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Numbers of embedding and head: as-stored, float32, bfloat16 or int8
    #[arg(long, value_name = "FORMAT", default_value = "as-stored", hide_possible_values = true)]
    head: HeadFormat,
    /// Numbers of the cache: float32 or bfloat16
    #[arg(long, value_name = "FORMAT", default_value = "float32", hide_possible_values = true)]
    cache: CacheFormat,
    #[command(flatten)]
    place: ModelPlace,
}

/// Where models are looked for.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelPlace {
    /// Where runs lie
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs_dir: PathBuf,
}

impl ModelPlace {
    /// Runs lie in `runs_dir`.
    pub fn below(runs_dir: &Path) -> Self {
        Self { runs_dir: runs_dir.to_owned() }
    }

    /// Where the model that `name` means lies: a run's newest whole checkpoint, a newer damaged one being named on stderr, a folder or a
    /// GGUF file; one on the Hugging Face hub is fetched, which is announced on stderr. No name is the newest run.
    ///
    /// # Errors
    /// The user's: there is no such model. Those of the hub.
    pub fn find(&self, name: Option<&str>) -> Result<PathBuf> {
        let name = name.map(name_from_here);
        match name.as_deref() {
            Some(path) if Path::new(path).is_file() => Ok(PathBuf::from(path)),
            Some(id) if self.is_on_hub(id) => from_hub(id),
            name => model_folder(&DISK, &self.runs_dir, name, &mut say_passed_over)
                .map_err(|error| name.and_then(|name| missing(name, &self.runs_dir)).unwrap_or(error)),
        }
    }

    /// `owner/name`, where neither that nor `owner` is a path here, nor is there such a run.
    pub fn is_on_hub(&self, name: &str) -> bool {
        let is_elsewhere = |(owner, _): (&str, &str)| !Path::new(owner).exists();
        owner_and_name(name).is_some_and(is_elsewhere) && !self.runs_dir.join(name).exists()
    }
}

impl ModelArguments {
    /// [`ModelPlace::find`].
    ///
    /// # Errors
    /// Those of [`ModelPlace::find`].
    pub fn find(&self, name: Option<&str>) -> Result<PathBuf> {
        self.place.find(name)
    }

    /// What [`Engine::load`] is told.
    ///
    /// # Errors
    /// The user's: no threads.
    pub fn load_options(&self) -> Result<LoadOptions> {
        if self.threads == Some(0) {
            return Err(Error::input("--threads 0: it must be 1 or more"));
        }
        let defaults = LoadOptions::default();
        Ok(LoadOptions { num_threads: self.threads.unwrap_or(defaults.num_threads), head_format: self.head, cache_format: self.cache })
    }

    /// Finds and loads the model that `name` means; where it lies, too.
    ///
    /// # Errors
    /// Those of [`Self::find`], [`Self::load_options`] and [`Engine::load`].
    pub fn load(&self, name: Option<&str>) -> Result<(PathBuf, Engine)> {
        let options = self.load_options()?;
        let path = self.find(name)?;
        let engine = Engine::load(&path, &options)?;
        Ok((path, engine))
    }
}

/// Says on stderr that a newer checkpoint is damaged, so that an older one is used.
pub fn say_passed_over(damaged: &DamagedCheckpoint) {
    let _ = writeln!(stderr(), "warning: {damaged}"); // nobody reads it: the older one is used all the same
}

fn from_hub(id: &str) -> Result<PathBuf> {
    fetch_model(id, &Environment::from_env()?).map_err(|error| not_on_hub(id, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        model: ModelPlace,
    }

    #[test]
    fn a_name_with_one_slash_that_nothing_here_has_is_on_the_hub() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("owner/run")).unwrap();
        let model = Line::parse_from(["test", "--runs-dir", dir.path().to_str().unwrap()]).model;
        for id in ["microsoft/bitnet-b1.58-2B-4T", "1bitLLM/bitnet_b1_58-3B", "owner/name"] {
            assert!(model.is_on_hub(id), "{id}");
        }
        for other in ["mine", "owner/run", "src/tokenizer", "src/absent", "a/b/c", "./a", "../a", "/a", "a/", "a b/c", "-a/b", ""] {
            assert!(!model.is_on_hub(other), "{other}");
        }
    }
}
