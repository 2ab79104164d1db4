//! `check-status` as a user calls it: page, table, JSON, watching, errors, exit statuses.

use assert_cmd::Command;
use bitnet::run::{Event, EventRow, Log, RunDirectory};
use bitnet::storage::DISK;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{self, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_check-status");

fn check_status(runs_dir: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    Command::new(PROGRAM).arg("--runs-dir").arg(runs_dir).args(arguments).assert()
}

fn make_run(runs_dir: &Path, id: &str, event: Event) {
    let run = RunDirectory::create(&DISK, runs_dir, id).unwrap();
    let mut log = Log::open(&DISK, &run.events_path()).unwrap();
    log.append(&EventRow { unix_time: 1.7e9, step: 7, event }).unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_failed_run_is_shown_with_its_reason_and_exit_status_0() {
    let dir = tempfile::tempdir().unwrap();
    make_run(dir.path(), "mine", Event::Failed { reason: "the disk is full".to_owned() });
    let assert = check_status(dir.path(), &["mi"]).success().stderr("");
    let page = text(&assert.get_output().stdout);
    assert!(page.starts_with("mine  failed\n") && page.contains("the disk is full") && !page.contains('\x1b'), "{page}");
}

#[test]
fn without_a_name_all_runs_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    make_run(dir.path(), "mine", Event::Finished);
    make_run(dir.path(), "other", Event::Stopped { reason: "SIGINT".to_owned() });
    let table = text(&check_status(dir.path(), &[]).success().get_output().stdout);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.contains("finished") && table.contains("stopped"));
    let list: serde_json::Value = serde_json::from_slice(&check_status(dir.path(), &["--json"]).success().get_output().stdout).unwrap();
    assert_eq!(list.as_array().map(Vec::len), Some(2));
}

#[test]
fn several_names_make_a_table_of_those_runs_in_that_order() {
    let dir = tempfile::tempdir().unwrap();
    ["first", "second", "third"].iter().for_each(|id| make_run(dir.path(), id, Event::Finished));
    let table = text(&check_status(dir.path(), &["third", "fi"]).success().get_output().stdout);
    let names: Vec<&str> = table.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["run", "third", "first"]);
    let list: serde_json::Value =
        serde_json::from_slice(&check_status(dir.path(), &["third", "first", "--json"]).success().get_output().stdout).unwrap();
    assert_eq!((list[0]["id"].as_str(), list[1]["id"].as_str()), (Some("third"), Some("first")));
    check_status(dir.path(), &["third", "nosuch"]).code(2);
}

#[test]
fn json_has_every_documented_key() {
    let dir = tempfile::tempdir().unwrap();
    make_run(dir.path(), "mine", Event::Finished);
    let assert = check_status(dir.path(), &["mine", "--json"]).success();
    let status: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let keys = "checkpoint codes damaged_lines divergence eta_seconds evaluation experiment grad_norm held_out_loss id \
                last_row_age_seconds learning_rate loss loss_average loss_trend_per_1000_steps num_parameters num_steps path percent \
                problems reason samples skipped_steps started_unix_time state step step_seconds tokens tokens_per_second \
                training_seconds weight_decay";
    let found: Vec<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(found, keys.split_whitespace().collect::<Vec<_>>());
    assert_eq!((status["id"].as_str(), status["state"].as_str(), status["step"].as_u64()), (Some("mine"), Some("finished"), Some(7)));
}

#[test]
fn no_runs_are_an_error_for_people_and_an_empty_list_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    let assert = check_status(dir.path(), &[]).code(2).stdout("");
    assert!(text(&assert.get_output().stderr).contains("hint: start one with"));
    check_status(dir.path(), &["--json"]).success().stdout("[]\n");
}

#[test]
fn what_the_user_got_wrong_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    make_run(dir.path(), "mine", Event::Finished);
    for (arguments, message) in [
        (vec!["mime"], "error: there is no run \"mime\""),
        (vec!["mime", "--watch"], "error: there is no run \"mime\""),
        (vec!["mine", "--watch", "--interval", "0"], "0.05 to 86400"),
    ] {
        let assert = check_status(dir.path(), &arguments).code(2).stdout("");
        assert!(text(&assert.get_output().stderr).contains(message));
    }
}

#[test]
fn watching_through_a_pipe_appends_snapshots_and_ends_quietly_with_its_reader() {
    let dir = tempfile::tempdir().unwrap();
    make_run(dir.path(), "mine", Event::Finished);
    let mut command = process::Command::new(PROGRAM);
    command.arg("--runs-dir").arg(dir.path()).args(["mine", "--watch", "--json", "--interval", "0.05"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let status: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(status["state"], "finished");
    }
    drop(lines); // closes the pipe: the next snapshot finds nobody
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
