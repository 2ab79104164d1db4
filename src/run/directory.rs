//! The names of everything in a run's directory.

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

    /// One folder a checkpoint.
    pub fn checkpoints_dir(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// What `plot-loss` draws when no output is named.
    pub fn plots_dir(&self) -> PathBuf {
        self.path.join("plots")
    }
}
