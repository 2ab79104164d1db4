//! From an experiment to a trainer: a new run, or an old one that goes on. Config and manifest are on disk before anything slow.

use super::constants::Constants;
use super::continuity::{compare_by_hand, refuse_other_data, refuse_other_experiment, refuse_other_state};
use super::network::Network;
use super::peak::peak_of;
use super::plan::Plan;
use super::save::switch_step;
use super::trainer::{Ending, Trainer};
use crate::config::{Experiment, Overrides, Resolved, resolve};
use crate::error::Fault;
use crate::libtorch;
use crate::model::{InitialWeights, describe_device, select_device};
use crate::run::{
    self, ActiveRun, Checkpoint, CheckpointStore, Event, EventRow, GitState, Latest, Manifest, Observer, Peak, RunDirectory, StopSignal,
};
use crate::storage::{FileSystem, Lock, remove_tree};
use crate::{Error, Result};
use std::path::Path;
use tch::Device;

/// A run that is on disk and locked, and not yet training.
pub struct Launch<'fs> {
    fs: &'fs dyn FileSystem,
    directory: RunDirectory,
    lock: Lock,
    experiment: Experiment,
    device: Device,
    notes: Vec<String>,
    /// What a new run starts from, if not from random weights.
    initial: Option<InitialWeights>,
    /// The config that the run had; none for a new run.
    saved: Option<Experiment>,
}

impl<'fs> Launch<'fs> {
    /// A new run `id` below `runs_dir`, or one named after its parameters, experiment and time.
    ///
    /// # Errors
    /// The user's: a config or flag that does not fit, weights to start from that do not, an absent device, a run that exists.
    pub fn create(fs: &'fs dyn FileSystem, runs_dir: &Path, id: Option<&str>, experiment: &Path, overrides: &Overrides) -> Result<Self> {
        let resolved = resolve(experiment, overrides)?;
        let experiment = resolved.experiment;
        let device = select_device(experiment.device)?;
        Plan::new(&experiment)?; // what it or the weights refuse must not take the id
        let initial = initial_weights(&experiment)?;
        let id = id.map_or_else(|| free_default_id(runs_dir, &experiment), str::to_string);
        let directory = RunDirectory::create(fs, runs_dir, &id)?;
        let begun = directory.lock().and_then(|lock| directory.write_config(fs, &experiment).map(|()| lock));
        let lock = begun.inspect_err(|_| {
            let _ = remove_tree(fs, directory.path()); // without a config it is no run, and its id would be taken
        })?;
        Ok(Self { fs, directory, lock, experiment, device, notes: resolved.warnings, initial, saved: None })
    }

    /// Run `id` below `runs_dir`, with the config that it has; `experiment`, where it is named, must be the run's. Flags may change what
    /// the run does from here on, but not what its state means: model, data, tokenizer, seed and the shape of a batch stay.
    ///
    /// # Errors
    /// The user's: no such run, another process that writes it, a flag that cannot change now, a run of another experiment.
    pub fn resume(fs: &'fs dyn FileSystem, runs_dir: &Path, id: &str, experiment: Option<&Path>, overrides: &Overrides) -> Result<Self> {
        run::check_run_id(id)?;
        let directory = RunDirectory::new(runs_dir.join(id));
        refuse_no_run(&directory)?;
        let lock = directory.lock()?;
        let saved = directory.read_config()?;
        let resolved = resolve(directory.config_path(), overrides)?;
        experiment.map_or(Ok(()), |experiment| refuse_other_experiment(&saved, experiment, id))?;
        refuse_other_state(&saved, &resolved.experiment)?;
        let device = select_device(resolved.experiment.device)?;
        let Resolved { experiment, warnings: notes, .. } = resolved;
        Ok(Self { fs, directory, lock, experiment, device, notes, initial: None, saved: Some(saved) })
    }

    /// Where the run lies.
    pub fn directory(&self) -> &RunDirectory {
        &self.directory
    }

    /// Trains to the end, or until `stop`; `observer` hears of everything. A run that has all its steps is left as it is.
    ///
    /// # Errors
    /// The user's: fewer steps than the run has taken. Ours: what [`Trainer::run`] says, and a disk that takes no manifest.
    pub fn run(mut self, stop: StopSignal, observer: &mut dyn Observer) -> Result<Ending> {
        let plan = Plan::new(&self.experiment)?;
        let mut checkpoints = CheckpointStore::open(self.fs, self.directory.checkpoints_dir(), self.experiment.checkpoints.keep_last)?;
        switch_step(&self.experiment).into_iter().for_each(|step| checkpoints.pin(step));
        let latest = if self.saved.is_some() { checkpoints.load_latest()? } else { Latest::default() };
        let from_step = latest.checkpoint.as_ref().map(Checkpoint::step);
        if from_step.is_none() && self.initial.is_none() {
            self.initial = initial_weights(&self.experiment)?; // a run that was stopped before its first checkpoint begins anew
        }
        let (mut manifest, manifest_warning) = self.read_manifest()?;
        if let Some(saved) = &self.saved {
            self.notes.extend(compare_by_hand(self.fs, &self.directory, &manifest, latest.checkpoint.as_ref(), saved)?);
        }
        let mut notes = self.opening_notes(&latest);
        if from_step.is_some_and(|step| step >= self.experiment.train.num_steps) {
            return self.nothing_to_do(from_step.unwrap_or(0), checkpoints, &notes, observer);
        }
        latest.checkpoint.iter().try_for_each(|checkpoint| refuse_other_data(&plan.constants.fingerprints, checkpoint))?;
        notes.extend(manifest_warning);
        let peak = peak_of(self.device, self.experiment.precision)?;
        manifest.launches.push(self.record(&plan.constants, from_step, &peak));
        manifest.write(self.fs, &self.directory)?; // before the config, so that every config of ours has its hash there
        self.write_changed_config()?;
        let mut run = ActiveRun::open(self.fs, self.directory, self.lock, checkpoints, from_step.unwrap_or(0))?;
        run.event(from_step.unwrap_or(0), Event::Started { process_id: std::process::id() });
        let network = Network::new(&self.experiment, self.device)
            .and_then(|network| self.initial.iter().try_for_each(|weights| network.begin_with(weights)).map(|()| network))
            .inspect_err(|error| run.event(from_step.unwrap_or(0), Event::Failed { reason: error.message() }))?;
        Trainer::new(self.experiment, plan, run, network, stop, observer).with_peak(&peak).run(latest.checkpoint.as_ref(), &notes)
    }

    /// Leaves a run that took `step` steps, which are all of them or more. It may have been killed before it could say that it finished.
    fn nothing_to_do(self, step: u64, checkpoints: CheckpointStore<'fs>, notes: &[String], observer: &mut dyn Observer) -> Result<Ending> {
        let num_steps = self.experiment.train.num_steps;
        if step > num_steps {
            let message = format!("run {} has taken {step} steps, more than train.num_steps = {num_steps}", self.directory.id());
            return Err(Error::input(message).hint(format!("leave --num-steps out, or give more than {step}")));
        }
        let events = run::read_log::<EventRow>(self.fs, &self.directory.events_path())?.rows;
        let mut run = ActiveRun::open(self.fs, self.directory, self.lock, checkpoints, step)?;
        if events.last().is_none_or(|last| last.event != Event::Finished) {
            run.event(step, Event::Finished);
            run.sync()?;
        }
        notes.iter().for_each(|note| observer.noted(note));
        Ok(Ending::AlreadyFinished)
    }

    /// Flags of a resume become part of the run's config.
    fn write_changed_config(&self) -> Result<()> {
        match &self.saved {
            Some(saved) if *saved != self.experiment => self.directory.write_config(self.fs, &self.experiment),
            _ => Ok(()),
        }
    }

    /// What a person should hear before the first step.
    fn opening_notes(&self, latest: &Latest) -> Vec<String> {
        let mut notes = self.notes.clone();
        notes.extend(latest.damaged.iter().map(|damaged| format!("warning: {damaged}; it is now {}", damaged.path.display())));
        notes.extend(self.initial.iter().flat_map(|weights| weights.notes().iter().cloned()));
        if self.saved.is_some() {
            let step = latest.checkpoint.as_ref().map(Checkpoint::step);
            notes.push(
                step.map_or("there is no whole checkpoint: starting from step 0".into(), |step| format!("resuming after step {step}")),
            );
        }
        notes
    }

    /// The manifest of the launches before. Where there is none, or what is there cannot be read, a new one, and what to say of that.
    fn read_manifest(&self) -> Result<(Manifest, Option<String>)> {
        let path = self.directory.manifest_path();
        let read = match path.is_file() {
            true => Manifest::read(self.fs, &self.directory),
            false => Err(Error::input(format!("{} is missing", path.display()))),
        };
        match read {
            Ok(manifest) => Ok((manifest, None)),
            Err(error) if error.fault() == Fault::Ours => Err(error), // the disk's refusal says nothing of what is there
            Err(error) => {
                let warning = format!("warning: {error}; it is written anew, without the launches before this one");
                Ok((Manifest::new(self.directory.id()), self.saved.is_some().then_some(warning)))
            }
        }
    }

    /// This start, for the manifest.
    fn record(&self, constants: &Constants, resumed_from_step: Option<u64>, peak: &Peak) -> run::Launch {
        run::Launch {
            unix_time: run::unix_time() as u64,
            command: std::env::args().collect(),
            resumed_from_step,
            git: GitState::of(Path::new(".")),
            version: env!("CARGO_PKG_VERSION").into(),
            libtorch_version: libtorch::VERSION.into(),
            device: describe_device(self.device),
            peak: Some(peak.clone()),
            seed: self.experiment.seed,
            init_from: self
                .experiment
                .init_from
                .clone()
                .zip(self.initial.as_ref())
                .map(|(folder, weights)| run::StartingWeights { folder, hash: weights.hash().to_string() }),
            num_parameters: self.experiment.model.num_parameters() as u64,
            config_hash: constants.fingerprints.config.clone(),
            data_fingerprint: constants.fingerprints.data.clone(),
        }
    }
}

/// The weights that `experiment` starts from, checked; none for random ones.
///
/// # Errors
/// As [`InitialWeights::load`].
pub fn initial_weights(experiment: &Experiment) -> Result<Option<InitialWeights>> {
    experiment.init_from.as_ref().map(|dir| InitialWeights::load(Path::new(dir), &experiment.model)).transpose()
}

/// The first id of the usual pattern that is free: two runs may begin in one second.
fn free_default_id(runs_dir: &Path, experiment: &Experiment) -> String {
    let (num_parameters, now) = (experiment.model.num_parameters() as u64, run::unix_time() as u64);
    let mut ids = (now..).map(|time| run::default_run_id(num_parameters, &experiment.experiment, time));
    ids.find(|id| !runs_dir.join(id).exists()).unwrap_or_default()
}

/// What `--resume` needs to go on from.
fn refuse_no_run(directory: &RunDirectory) -> Result<()> {
    let (path, id) = (directory.path().display(), directory.id());
    if directory.config_path().is_file() {
        return Ok(());
    }
    let hint = match directory.path().exists() {
        true => format!("if its creation was cut short, remove {path} and start it without --resume"),
        false => format!("start it without --resume: --run-id {id}"),
    };
    Err(Error::input(format!("{path} is no run: it has no config.yaml")).hint(hint))
}
