//! The names of everything in a run's directory, and its creation.

use super::{Checkpoint, Checkpoints, DamagedCheckpoint, check_run_id};
use crate::config::{Experiment, Overrides, resolve};
use crate::storage::{FileSystem, Lock, create_dir_durably, write_atomically};
use crate::{Context, Error, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// `runs/<id>/`, by path. It may not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// The run at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Makes the directory of a new run, with `logs/` and `checkpoints/`, durably.
    ///
    /// # Errors
    /// The user's: an id that cannot be one, a run that exists.
    pub fn create(fs: &dyn FileSystem, runs_dir: &Path, id: &str) -> Result<Self> {
        check_run_id(id)?;
        create_dir_durably(fs, runs_dir)?;
        let run = Self::new(runs_dir.join(id));
        match fs.create_dir(&run.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(run.exists_already()),
            made => made.context(|| format!("creating {}", run.path.display()))?,
        }
        fs.sync_dir(runs_dir).context(|| format!("syncing {}", runs_dir.display()))?;
        create_dir_durably(fs, &run.logs_dir())?;
        create_dir_durably(fs, &run.checkpoints_dir())?;
        Ok(run)
    }

    fn exists_already(&self) -> Error {
        Error::input(format!("{} exists already", self.path.display()))
            .hint(format!("go on with it by --run-id {} --resume, or choose another --run-id", self.id()))
    }

    /// Makes this process the run's only writer for as long as the lock lives; the user's error when another process is.
    pub fn lock(&self) -> Result<Lock> {
        Lock::acquire(&self.lock_path())
    }

    /// Writes `config.yaml`: the resolved experiment, whole or not at all, and durably.
    pub fn write_config(&self, fs: &dyn FileSystem, experiment: &Experiment) -> Result<()> {
        let text = serde_yaml::to_string(experiment).context(|| "writing the resolved config".to_owned())?;
        write_atomically(fs, &self.config_path(), text.as_bytes())
    }

    /// The resolved experiment.
    ///
    /// # Errors
    /// The file is absent, or no config.
    pub fn read_config(&self) -> Result<Experiment> {
        Ok(resolve(self.config_path(), &Overrides::default())?.experiment)
    }

    /// The newest checkpoint that is whole; `passed_over` hears of every newer one that is not. Needs no lock and changes nothing.
    ///
    /// # Errors
    /// There is none yet, or none that is whole.
    pub fn newest_checkpoint(&self, fs: &dyn FileSystem, passed_over: &mut dyn FnMut(&DamagedCheckpoint)) -> Result<Checkpoint> {
        let latest = Checkpoints::new(fs, self.checkpoints_dir()).latest()?;
        match latest.checkpoint {
            Some(checkpoint) => {
                latest.damaged.iter().for_each(passed_over);
                Ok(checkpoint)
            }
            None => Err(self.no_checkpoint(&latest.damaged)),
        }
    }

    fn no_checkpoint(&self, damaged: &[DamagedCheckpoint]) -> Error {
        let path = self.path.display();
        if damaged.is_empty() {
            return Error::input(format!("{path} has no checkpoint yet")).hint("wait for the first one, or let it train for longer");
        }
        let each = damaged.iter().map(|one| format!("{} is damaged: {}", RunDirectory::new(&one.path).id(), one.reason));
        Error::input(format!("{path} has no whole checkpoint: {}", each.collect::<Vec<_>>().join("; ")))
            .hint(format!("bring the files back from a copy; train --run-id {} --resume begins again at step 0", self.id()))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's id: the last part of its path.
    pub fn id(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// The resolved experiment.
    pub fn config_path(&self) -> PathBuf {
        self.path.join("config.yaml")
    }

    /// Command, commit, versions, device, seed, data fingerprint.
    pub fn manifest_path(&self) -> PathBuf {
        self.path.join("manifest.yaml")
    }

    /// Held locked while a trainer lives; never deleted.
    pub fn lock_path(&self) -> PathBuf {
        self.path.join("run.lock")
    }

    /// Everything that the trainer records.
    pub fn logs_dir(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// The trainer's messages, for people.
    pub fn train_log_path(&self) -> PathBuf {
        self.logs_dir().join("train.log")
    }

    /// One [`super::MetricsRow`] a step.
    pub fn metrics_path(&self) -> PathBuf {
        self.logs_dir().join("metrics.csv")
    }

    /// [`super::EvaluationRow`]s.
    pub fn evaluation_path(&self) -> PathBuf {
        self.logs_dir().join("eval.csv")
    }

    /// [`super::SampleRow`]s, one JSON object a line.
    pub fn samples_path(&self) -> PathBuf {
        self.logs_dir().join("samples.jsonl")
    }

    /// [`super::CodesRow`]s.
    pub fn codes_path(&self) -> PathBuf {
        self.logs_dir().join("codes.csv")
    }

    /// [`super::EventRow`]s, one JSON object a line: started, resumed, saved, ended.
    pub fn events_path(&self) -> PathBuf {
        self.logs_dir().join("events.jsonl")
    }

    /// The rows of metrics, evaluations and samples as TensorBoard reads them.
    pub fn tensorboard_dir(&self) -> PathBuf {
        self.logs_dir().join("tensorboard")
    }

    /// One folder a checkpoint.
    pub fn checkpoints_dir(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// What `plot-loss` draws when no output is named.
    pub fn plots_dir(&self) -> PathBuf {
        self.path.join("plots")
    }
}
