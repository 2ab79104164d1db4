//! `logs/tensorboard/`: the rows of metrics.csv, eval.csv and samples.jsonl once more, as an event file that TensorBoard reads. Those
//! logs are the truth: whenever a run is opened the event file is derived from what they hold after the resumed step, so that it can
//! neither lack a row nor show one twice.
//!
//! TensorBoard could be told to forget later steps by an event at the end of the old file, but a torn record there hides all that
//! follows. A derived file has a name of its own that sorts after the old one's, and begins with a session's start at step 0: a
//! TensorBoard that is already watching drops what it has and takes the new file whole.

mod event;
mod record;
#[cfg(test)]
mod tests;
mod values;

use super::read::{read_if_present, read_log};
use crate::run::{EvaluationRow, MetricsRow, RunDirectory, SampleRow, unix_time};
use crate::storage::{AppendFile, FileSystem, create_dir_durably, remove_temporaries, write_atomically};
use crate::{Context, Result};
use event::Value;
use record::push_record;
use std::path::Path;

/// How the name of an event file begins; TensorBoard knows it by that.
const PREFIX: &str = "events.out.tfevents.";

/// The event file of a run in progress.
pub(super) struct TensorBoard<'fs> {
    file: AppendFile<'fs>,
    /// Of the last step; evaluations and samples have none of their own.
    wall_time: f64,
}

impl<'fs> TensorBoard<'fs> {
    /// Derives the event file from the logs of `run`, in the place of those that are there; goes on with one that holds just that.
    pub fn open(fs: &'fs dyn FileSystem, run: &RunDirectory) -> Result<Self> {
        let dir = run.tensorboard_dir();
        create_dir_durably(fs, &dir)?;
        remove_temporaries(fs, &dir)?;
        let metrics = read_log::<MetricsRow>(fs, &run.metrics_path())?.rows;
        let evaluations = read_log::<EvaluationRow>(fs, &run.evaluation_path())?.rows;
        let samples = read_log::<SampleRow>(fs, &run.samples_path())?.rows;
        let now = unix_time();
        let name = replaced(fs, &dir, now, &derived(now, &metrics, &evaluations, &samples))?;
        let wall_time = metrics.last().map_or(now, |row| row.unix_time);
        Ok(Self { file: AppendFile::open(fs, &dir.join(name))?, wall_time })
    }

    pub fn append_step(&mut self, row: &MetricsRow) -> Result<()> {
        self.wall_time = row.unix_time;
        self.append(row.step, &values::of_step(row))
    }

    /// Rows of one step.
    pub fn append_evaluation(&mut self, rows: &[EvaluationRow]) -> Result<()> {
        rows.first().map_or(Ok(()), |first| self.append(first.step, &values::of_evaluation(rows)))
    }

    /// Rows of one step.
    pub fn append_samples(&mut self, rows: &[SampleRow]) -> Result<()> {
        rows.first().map_or(Ok(()), |first| self.append(first.step, &values::of_samples(rows)))
    }

    pub fn sync(&mut self) -> Result<()> {
        self.file.sync()
    }

    fn append(&mut self, step: u64, values: &[Value]) -> Result<()> {
        let mut record = Vec::new();
        push_record(&event::summary(self.wall_time, step, values), &mut record);
        self.file.append(&record)
    }
}

/// The name of the only event file in `dir`, which holds `rows` behind its head.
fn replaced(fs: &dyn FileSystem, dir: &Path, now: f64, rows: &[u8]) -> Result<String> {
    let (head, old) = (head(now), event_files(fs, dir)?);
    if let [only] = &old[..]
        && read_if_present(fs, &dir.join(only))?.is_some_and(|content| content.get(head.len()..) == Some(rows))
    {
        return Ok(only.clone());
    }
    let name = file_name(now as u64, &old);
    write_atomically(fs, &dir.join(&name), &[&head, rows].concat())?;
    for name in old {
        fs.remove_file(&dir.join(&name)).context(|| format!("removing {name} from {}", dir.display()))?;
    }
    Ok(name)
}

/// How every event file begins; always of the same length.
fn head(now: f64) -> Vec<u8> {
    let mut out = Vec::new();
    push_record(&event::version(now), &mut out);
    push_record(&event::session_start(now, 0), &mut out);
    out
}

/// What appending the rows in the order of their steps makes of an empty file. Without any step's time it is `now`.
fn derived(now: f64, metrics: &[MetricsRow], evaluations: &[EvaluationRow], samples: &[SampleRow]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut push = |wall_time, step, values: &[Value]| push_record(&event::summary(wall_time, step, values), &mut out);
    let mut evaluations = evaluations.chunk_by(|row, next| row.step == next.step).peekable();
    let mut samples = samples.chunk_by(|row, next| row.step == next.step).peekable();
    // Beyond the last step there is nothing, unless metrics.csv was damaged.
    let rest = metrics.last().map_or(now, |row| row.unix_time);
    let steps = metrics.iter().map(|row| (row.step, row.unix_time, Some(row))).chain([(u64::MAX, rest, None)]);
    for (step, wall_time, row) in steps {
        row.into_iter().for_each(|row| push(wall_time, step, &values::of_step(row)));
        while let Some(rows) = evaluations.next_if(|rows| rows[0].step <= step) {
            push(wall_time, rows[0].step, &values::of_evaluation(rows));
        }
        while let Some(rows) = samples.next_if(|rows| rows[0].step <= step) {
            push(wall_time, rows[0].step, &values::of_samples(rows));
        }
    }
    out
}

fn event_files(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<String>> {
    let entries = fs.list(dir).context(|| format!("listing {}", dir.display()))?;
    Ok(entries.into_iter().map(|entry| entry.name).filter(|name| name.starts_with(PREFIX)).collect())
}

/// `events.out.tfevents.<unix>.<host>.<pid>`; TensorBoard reads files in the order of their names, so the time is after that of `old`.
fn file_name(now: u64, old: &[String]) -> String {
    let time_of = |name: &String| name.strip_prefix(PREFIX)?.split('.').next()?.parse::<u64>().ok();
    let time = old.iter().filter_map(time_of).map(|time| time.saturating_add(1)).fold(now, u64::max);
    format!("{PREFIX}{time:010}.{}.{}", host_name(), std::process::id())
}

/// The machine's name, as far as it can be part of a file's.
fn host_name() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    let allowed = |character: &char| character.is_ascii_alphanumeric() || "._-".contains(*character);
    let name: String = name.chars().filter(allowed).take(64).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
