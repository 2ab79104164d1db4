//! One trial: a run of several lives, each ended by a kill or a power cut at a random call, with a look at what is left after each.

use super::history::{History, Version, row};
use super::mutation::{Bent, Mutation};
use bitnet::run::{Checkpoint, CheckpointStore, Checkpoints, MetricsRow, NewFile, RunDirectory, RunLogs, read_log};
use bitnet::storage::testing::{ForgetfulFileSystem, SplitMix64};
use bitnet::storage::{FileSystem, create_dir_durably};
use std::path::Path;

pub const RUN: &str = "/runs/r";
const NUM_LIVES: u64 = 5;
const SAVES_IN_A_LIFE: u64 = 4;
const KEEP_LAST: usize = 2;

/// What a trial found.
#[derive(Debug)]
pub struct Outcome {
    pub num_cuts: u64,
    pub loss: Option<Loss>,
}

/// What must never be seen.
#[derive(Debug, PartialEq)]
#[allow(dead_code)] // The fields are for the message.
pub enum Loss {
    NothingLeft { safe: Version },
    Older { safe: Version, found: Version },
    WrongContent { step: u64 },
    Damaged { reasons: Vec<String> },
    BestIsGone { best: Version },
    Rows { up_to: u64, found: Vec<u64> },
    Unrecoverable { error: String },
}

/// Runs a trial to its first loss, or to its end.
pub fn run(seed: u64, mutation: Mutation) -> Outcome {
    let mut random = SplitMix64::new(seed);
    let disk = ForgetfulFileSystem::new();
    create_dir_durably(&disk, Path::new(RUN)).unwrap();
    let mut history = History::default();
    let mut outcome = Outcome { num_cuts: 0, loss: None };
    for life in 0..NUM_LIVES {
        let bent = Bent::new(disk.clone(), mutation, Some(random.below(420)));
        let _ = live(&bent, &mut history, life, &mut random); // It ends by the error of a call that came too late.
        if random.quarters(3) {
            disk.power_cut(random.next_u64());
            outcome.num_cuts += 1;
        }
        outcome.loss = look(&disk, &mut history, mutation).err();
        if outcome.loss.is_some() {
            break;
        }
    }
    outcome
}

/// A trainer's life: resume, then rows and saves.
fn live(fs: &dyn FileSystem, history: &mut History, life: u64, random: &mut SplitMix64) -> bitnet::Result<()> {
    let run = RunDirectory::new(RUN);
    let mut store = CheckpointStore::open(fs, run.checkpoints_dir(), KEEP_LAST)?;
    let resumed = store.load_latest()?.checkpoint;
    if let Some(checkpoint) = &resumed {
        let version = version_of(fs, checkpoint).ok_or_else(|| bitnet::Error::ours("the life ended while loading"))?;
        history.safe = Some(version);
    }
    let mut step = resumed.as_ref().map_or(0, Checkpoint::step);
    let mut logs = RunLogs::open(fs, &run, step)?;
    if let Some(resumed) = history.safe.filter(|_| random.quarters(2)) {
        // Stopped before the first new step: the same state once more, or another one under the same step.
        let variant = if random.quarters(2) { resumed.variant } else { life };
        save(&mut store, history, Version { step, variant })?;
    }
    for _ in 0..SAVES_IN_A_LIFE {
        for _ in 0..2 {
            step += 1;
            logs.record_step(&row(step))?;
        }
        logs.sync()?;
        save(&mut store, history, Version { step, variant: life })?;
    }
    Ok(())
}

fn save(store: &mut CheckpointStore<'_>, history: &mut History, version: Version) -> bitnet::Result<()> {
    history.in_flight = Some(version);
    let files = version.files();
    let files = files.iter().map(|(name, content)| NewFile::bytes(name, content)).collect();
    let outcome = store.save(&version.label(), files)?;
    history.acknowledge(version);
    outcome.prune_failure.map_or(Ok(()), Err)
}

/// After a life: the next one starts, and finds what it must.
fn look(disk: &ForgetfulFileSystem, history: &mut History, mutation: Mutation) -> Result<(), Loss> {
    let run = RunDirectory::new(RUN);
    let unrecoverable = |error: bitnet::Error| Loss::Unrecoverable { error: error.to_string() };
    // The start of the next life is part of the mutated program, and may itself be followed by a kill.
    let bent = Bent::new(disk.clone(), mutation, None);
    CheckpointStore::open(&bent, run.checkpoints_dir(), KEEP_LAST).map_err(unrecoverable)?;
    let checkpoints = Checkpoints::new(disk, run.checkpoints_dir());
    let latest = checkpoints.latest().map_err(unrecoverable)?;
    match (&latest.checkpoint, history.safe) {
        (None, Some(safe)) => return Err(Loss::NothingLeft { safe }),
        (Some(checkpoint), _) => compare(disk, checkpoint, history)?,
        (None, None) => {}
    }
    look_at_all(&checkpoints, history)?;
    RunLogs::open(disk, &run, latest.checkpoint.as_ref().map_or(0, Checkpoint::step)).map_err(unrecoverable)?;
    look_at_rows(disk, &run, latest.checkpoint.as_ref().map_or(0, Checkpoint::step))
}

fn compare(disk: &dyn FileSystem, checkpoint: &Checkpoint, history: &History) -> Result<(), Loss> {
    let found = version_of(disk, checkpoint).ok_or(Loss::WrongContent { step: checkpoint.step() })?;
    match history.safe {
        Some(safe) if found.step < safe.step => return Err(Loss::Older { safe, found }),
        Some(safe) if found == safe || history.in_flight == Some(found) => {}
        None if history.in_flight == Some(found) => {}
        _ => return Err(Loss::WrongContent { step: found.step }),
    }
    Ok(())
}

/// The version that a checkpoint holds, if every byte of it is that version's.
pub fn version_of(fs: &dyn FileSystem, checkpoint: &Checkpoint) -> Option<Version> {
    let version = Version::of_state(&checkpoint.read(fs, "trainer.json").ok()?)?;
    let is_exact = version.files().iter().all(|(name, content)| checkpoint.read(fs, name).is_ok_and(|found| found == *content));
    (is_exact && checkpoint.step() == version.step).then_some(version)
}

/// No power cut leaves a damaged checkpoint under a checkpoint's name, and the best is among those that are left.
fn look_at_all(checkpoints: &Checkpoints<'_>, history: &History) -> Result<(), Loss> {
    let steps = checkpoints.steps().unwrap();
    let reasons: Vec<String> = steps.iter().filter_map(|step| checkpoints.open(*step).err()).map(|error| error.to_string()).collect();
    if !reasons.is_empty() {
        return Err(Loss::Damaged { reasons });
    }
    match history.best {
        Some(best) if !steps.contains(&best.step) && !steps.iter().any(|step| is_better(*step, best)) => Err(Loss::BestIsGone { best }),
        _ => Ok(()),
    }
}

/// A checkpoint that was committed and not acknowledged may have taken the best one's place.
fn is_better(step: u64, best: Version) -> bool {
    Version { step, variant: 0 }.held_out_loss() <= best.held_out_loss()
}

fn look_at_rows(disk: &dyn FileSystem, run: &RunDirectory, up_to: u64) -> Result<(), Loss> {
    let read = read_log::<MetricsRow>(disk, &run.metrics_path()).unwrap();
    let wanted: Vec<MetricsRow> = (1..=up_to).map(row).collect();
    if read.rows == wanted && read.damaged_lines.is_empty() {
        return Ok(());
    }
    Err(Loss::Rows { up_to, found: read.rows.iter().map(|row| row.step).collect() })
}
