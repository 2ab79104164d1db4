//! SIGKILL at random moments, many of them inside a save: nothing that was acknowledged is lost, and the run ends as if nothing had
//! happened. `BITNET_KILLS` sets how often (20), `BITNET_SEED` repeats the moments of an earlier loop, as far as a machine repeats any.
#![cfg(all(unix, feature = "torch"))]

mod tiny;

use bitnet::random::Random;
use bitnet::run::{Checkpoints, Event, RunDirectory};
use bitnet::storage::DISK;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tiny::{Runs, assert_same, events, finish, name, stderr, wait_until};

const SIGKILL: i32 = 9;

/// A save every other step: much of the time goes into saving.
const SETTINGS: [&str; 4] = ["--num-steps", "80", "--set", "checkpoints.every=2"];

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// What the loop has done.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    inside_a_save: u64,
    runs: u64,
}

impl Tally {
    fn count_kill(&mut self, run: &RunDirectory) {
        self.kills += 1;
        self.inside_a_save += u64::from(is_saving(run));
    }
}

#[test]
fn no_kill_loses_an_acknowledged_checkpoint_or_changes_the_result() {
    let (num_kills, seed) = (number_from("BITNET_KILLS", 20), number_from("BITNET_SEED", u64::from(std::process::id())));
    println!("BITNET_KILLS={num_kills} BITNET_SEED={seed}");
    let runs = Runs::new();
    let start = Instant::now();
    finish(runs.start("undisturbed", &SETTINGS), 0);
    let whole_run = start.elapsed();
    let mut tally = Tally::default();
    while tally.kills < num_kills {
        let id = format!("run-{}", tally.runs);
        kill_until_finished(&runs, &id, num_kills, whole_run, seed, &mut tally);
        assert_same(&runs.run(&id), &runs.run("undisturbed"));
        fs::remove_dir_all(runs.run(&id).path()).unwrap();
        tally.runs += 1;
    }
    println!("{tally:?} in {:.0?}", start.elapsed());
    assert!(tally.kills < 20 || tally.inside_a_save > 0, "no kill fell inside a save: {tally:?}");
}

/// Trains run `id` with a kill per process until a process is faster than its kill, or there were enough of them.
fn kill_until_finished(runs: &Runs, id: &str, num_kills: u64, whole_run: Duration, seed: u64, tally: &mut Tally) {
    let run = runs.run(id);
    loop {
        let mut child = start_or_resume(runs, id).spawn().unwrap();
        if tally.kills < num_kills {
            kill(&mut child, &run, whole_run, &mut Random::derive(seed, "moment of a kill", tally.kills));
        }
        let output = child.wait_with_output().unwrap();
        assert_nothing_acknowledged_was_lost(&run);
        match (output.status.code(), output.status.signal()) {
            (Some(0), _) => return,
            (None, Some(SIGKILL)) => tally.count_kill(&run),
            _ => panic!("{}: {}", output.status, stderr(&output)),
        }
    }
}

/// A kill before config.yaml is written leaves no run, but its directory.
fn start_or_resume(runs: &Runs, id: &str) -> Command {
    let run = runs.run(id);
    if run.config_path().exists() {
        return runs.resume(id, &[]);
    }
    if run.path().exists() {
        fs::remove_dir_all(run.path()).unwrap();
    }
    runs.start(id, &SETTINGS)
}

/// Kills `child` at a random moment: half of the time a moment after a save has begun, else after a part of the time that a run takes.
fn kill(child: &mut Child, run: &RunDirectory, whole_run: Duration, random: &mut Random) {
    if random.unit() < 0.5 {
        for _ in 0..=random.below(4) {
            wait_until(child, || is_saving(run));
            wait_until(child, || !is_saving(run));
        }
        wait_until(child, || is_saving(run));
        std::thread::sleep(Duration::from_micros(random.below(15_000)));
    } else {
        std::thread::sleep(whole_run.mul_f64(0.5 * random.unit()));
    }
    child.kill().unwrap();
}

/// Whether a save has begun and not ended; also when a kill cut it short.
fn is_saving(run: &RunDirectory) -> bool {
    let entries = fs::read_dir(run.checkpoints_dir()).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| name(&entry.path()).starts_with(".tmp-"))
}

/// Every process went on from what was acknowledged or newer, and that is there and whole now.
#[track_caller]
fn assert_nothing_acknowledged_was_lost(run: &RunDirectory) {
    let mut acknowledged = 0;
    for row in events(run) {
        match row.event {
            Event::Started { .. } => assert!(row.step >= acknowledged, "went on from {} after {acknowledged} was saved", row.step),
            Event::Saved { .. } => acknowledged = acknowledged.max(row.step),
            _ => {}
        }
    }
    let latest = Checkpoints::new(&DISK, run.checkpoints_dir()).latest().unwrap();
    assert!(latest.damaged.is_empty(), "{:?}", latest.damaged);
    let step = latest.checkpoint.map_or(0, |checkpoint| checkpoint.step());
    assert!(step >= acknowledged, "the newest is {step} after {acknowledged} was saved");
}
