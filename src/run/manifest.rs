//! `manifest.yaml`: what was started, with what, where and when; one entry for the first start and one for every resume.

use super::RunDirectory;
use crate::storage::{FileSystem, read_capped, write_atomically};
use crate::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Command;

const MAX_BYTES: u64 = 16 << 20;

/// What was started, with what, where and when.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The run's id.
    pub run_id: String,
    /// The first start, then every resume, oldest first.
    pub launches: Vec<Launch>,
}

/// One start of a trainer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// Seconds since 1970.
    pub unix_time: u64,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The step of the checkpoint that it went on from; none at the first start.
    pub resumed_from_step: Option<u64>,
    /// The state of the source tree, where there is one.
    pub git: Option<GitState>,
    /// The version of this crate.
    pub version: String,
    /// The version of libtorch.
    pub libtorch_version: String,
    /// Where tensors live: `cpu`, `cuda`, `mps`.
    pub device: String,
    /// What the device can do at best, which `mfu` in the logs is a share of; none in manifests from before it was kept.
    #[serde(default)]
    pub peak: Option<Peak>,
    /// Every random number derives from it.
    pub seed: u64,
    /// The weights that it began with; none where they are random, or a checkpoint's.
    pub init_from: Option<StartingWeights>,
    /// Parameters of the model.
    pub num_parameters: u64,
    /// Hash of the resolved experiment.
    pub config_hash: String,
    /// Hash of the data, or of what it is generated from.
    pub data_fingerprint: String,
}

/// The most arithmetic of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// Floating point operations a second, in the precision of the run.
    pub flops_per_second: f64,
    /// Where the number is from.
    pub source: String,
}

/// Weights from a model folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartingWeights {
    /// The folder, as the experiment names it.
    pub folder: String,
    /// Hash of its config and weights.
    pub hash: String,
}

/// The state of a source tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitState {
    /// The hash of the commit.
    pub commit: String,
    /// Whether tracked files differ from it.
    pub is_dirty: bool,
}

impl Manifest {
    /// No launches yet.
    pub fn new(run_id: impl Into<String>) -> Self {
        Self { run_id: run_id.into(), launches: Vec::new() }
    }

    /// Reads the manifest of `run`.
    pub fn read(fs: &dyn FileSystem, run: &RunDirectory) -> Result<Self> {
        let path = run.manifest_path();
        let text = read_capped(fs, &path, MAX_BYTES)?;
        serde_yaml::from_slice(&text).map_err(|error| Error::input(format!("{}: {error}", path.display())))
    }

    /// Writes it whole or not at all, and durably.
    pub fn write(&self, fs: &dyn FileSystem, run: &RunDirectory) -> Result<()> {
        let text = serde_yaml::to_string(self).context(|| "writing the manifest".to_owned())?;
        write_atomically(fs, &run.manifest_path(), text.as_bytes())
    }
}

impl GitState {
    /// The commit checked out in `dir`, and whether tracked files were changed since; none without git or outside a working tree.
    pub fn of(dir: &Path) -> Option<Self> {
        let commit = git(dir, &["rev-parse", "HEAD"])?;
        let changes = git(dir, &["status", "--porcelain", "--untracked-files=no"])?;
        Some(Self { commit, is_dirty: !changes.is_empty() })
    }
}

fn git(dir: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(dir).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
