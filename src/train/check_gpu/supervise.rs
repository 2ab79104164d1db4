//! Runs the parts one after another, each in a process of its own, within a budget of time; what is known is on disk after each.

use super::finding::{Finding, PartReport, Report, Verdict};
use super::{Part, Scale, Setting};
use crate::config::DeviceChoice;
use crate::run::unix_time;
use crate::storage::{DISK, create_dir_durably, remove_tree};
use crate::{Context, Error, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a process is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// A part gets no less time than this, as long as there is any: it has to load libtorch, and CUDA.
const LEAST: Duration = Duration::from_secs(20);

/// What is to be looked at, by what, and for how long.
#[derive(Debug, Clone)]
pub struct Supervisor {
    /// A program that takes `--part NAME --device DEVICE --scale SCALE --work DIR`, and leaves its finding in `DIR/finding.json`.
    pub program: PathBuf,
    /// Where tensors live.
    pub device: DeviceChoice,
    /// How much of everything; what the device is up to when absent.
    pub scale: Option<Scale>,
    /// What is looked at.
    pub parts: Vec<Part>,
    /// All parts together.
    pub budget: Duration,
    /// Where the results go.
    pub out_dir: PathBuf,
}

/// Looks at everything that there is time for, and tells `say` of each part.
///
/// # Errors
/// Nothing can be written, or no process started. What a part finds, and how it fails, is in the report.
pub fn check_gpu(supervisor: &Supervisor, say: &mut dyn FnMut(&PartReport)) -> Result<Report> {
    let Supervisor { out_dir, budget, .. } = supervisor;
    create_dir_durably(&DISK, out_dir)?;
    let begin = Instant::now();
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        unix_time: unix_time() as u64,
        scale: supervisor.scale.unwrap_or(Scale::Small),
        budget_seconds: budget.as_secs_f64(),
        parts: supervisor.parts.iter().map(|part| waiting(*part)).collect(),
    };
    for (index, part) in supervisor.parts.iter().enumerate() {
        let left = budget.saturating_sub(begin.elapsed());
        let time = share(left, supervisor.parts.len() - index);
        report.parts[index] = run_part(supervisor, *part, report.scale, time)?;
        if *part == Part::Surroundings && supervisor.scale.is_none() {
            report.scale = scale_for(&report.parts[index]);
        }
        report.write(&DISK, out_dir)?;
        say(&report.parts[index]);
    }
    Ok(report)
}

/// Twice an even share of what is left, and not too little.
fn share(left: Duration, num_parts: usize) -> Duration {
    (left * 2 / num_parts as u32).max(LEAST).min(left)
}

/// The published shapes on an NVIDIA GPU, the small ones elsewhere.
fn scale_for(surroundings: &PartReport) -> Scale {
    let device = surroundings.finding.as_ref().and_then(|finding| finding.numbers["device"].as_str());
    if device == Some("cuda") { Scale::Full } else { Scale::Small }
}

fn waiting(part: Part) -> PartReport {
    PartReport { name: part.name(), verdict: Verdict::Waiting, seconds: 0.0, summary: String::new(), finding: None }
}

fn run_part(supervisor: &Supervisor, part: Part, scale: Scale, time: Duration) -> Result<PartReport> {
    if time.is_zero() {
        return Ok(PartReport { verdict: Verdict::Skipped, summary: "the time was over".into(), ..waiting(part) });
    }
    let work_dir = supervisor.out_dir.join("work");
    if work_dir.exists() {
        remove_tree(&DISK, &work_dir)?;
    }
    create_dir_durably(&DISK, &work_dir)?;
    let begin = Instant::now();
    let setting = Setting { device: supervisor.device, scale, work_dir: work_dir.clone() };
    let mut child = started(&supervisor.program, part, &setting)?;
    let status = wait(&mut child, time)?;
    let report = PartReport { seconds: begin.elapsed().as_secs_f64(), ..waiting(part) };
    let report = concluded(report, status, &work_dir, time);
    remove_tree(&DISK, &work_dir)?;
    Ok(report)
}

fn started(program: &Path, part: Part, setting: &Setting) -> Result<Child> {
    let stderr = setting.work_dir.join("stderr");
    let stderr = File::create(&stderr).context(|| format!("creating {}", stderr.display()))?;
    let mut command = Command::new(program);
    command.args(["--part", &part.name(), "--device", word(&setting.device)?.as_str(), "--scale", word(&setting.scale)?.as_str()]);
    command.arg("--work").arg(&setting.work_dir).envs(part.environment().iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    command.spawn().context(|| format!("starting {}", program.display()))
}

/// The word of an enum on the command line, which is that of its file form.
fn word(value: &impl serde::Serialize) -> Result<String> {
    let value = serde_json::to_value(value)?;
    value.as_str().map(str::to_owned).ok_or_else(|| Error::ours("a setting that is no word"))
}

/// How `child` ended; none where it was ended because its time was over.
fn wait(child: &mut Child, time: Duration) -> Result<Option<ExitStatus>> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begin.elapsed() >= time {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        sleep(POLL);
    }
}

fn concluded(report: PartReport, status: Option<ExitStatus>, work_dir: &Path, time: Duration) -> PartReport {
    let finding = fs::read(work_dir.join("finding.json")).ok().and_then(|text| serde_json::from_slice::<Finding>(&text).ok());
    let said = fs::read_to_string(work_dir.join("stderr")).unwrap_or_default();
    match (status, finding) {
        (Some(status), Some(finding)) if status.success() => {
            let verdict = match finding.is_right {
                Some(true) => Verdict::Right,
                Some(false) => Verdict::Wrong,
                None => Verdict::Measured,
            };
            PartReport { verdict, summary: finding.summary.clone(), finding: Some(finding), ..report }
        }
        (Some(status), _) => PartReport { verdict: Verdict::Failed, summary: format!("{status}: {}", said.trim()), ..report },
        (None, _) => {
            let summary = format!("it took more than its {:.0} s and was ended", time.as_secs_f64());
            PartReport { verdict: Verdict::Skipped, summary, ..report }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_may_take_twice_its_share_but_never_more_than_is_left() {
        let seconds = Duration::from_secs;
        assert_eq!(share(seconds(480), 12), seconds(80));
        assert_eq!(share(seconds(50), 10), LEAST);
        assert_eq!(share(seconds(5), 10), seconds(5));
        assert_eq!(share(seconds(30), 1), seconds(30));
        assert_eq!(share(Duration::ZERO, 3), Duration::ZERO);
    }

    #[test]
    fn every_part_is_found_by_its_name() {
        for part in Part::all() {
            assert_eq!(Part::named(&part.name()).unwrap(), part);
        }
        assert!(Part::named("speed").unwrap_err().hint_text().unwrap().contains("speed-124m-full-precision"));
    }
}
