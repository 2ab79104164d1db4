//! `evaluate` as a process on a tiny trained run: a table for people, JSON for programs.
#![cfg(all(unix, feature = "torch"))]

mod tiny;

use assert_cmd::Command;
use serde_json::Value;
use tiny::{Runs, finish};

fn trained() -> Runs {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "6"]), 0);
    runs
}

fn evaluate(runs: &Runs, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluate"));
    command.args(arguments).arg("--runs-dir").arg(runs.path()).env("OMP_NUM_THREADS", "1").current_dir(runs.path());
    command
}

#[test]
fn evaluate_prints_a_table_and_the_same_numbers_as_json() {
    let runs = trained();
    let json = evaluate(&runs, &["mine", "--json", "--problems", "5"]).assert().success().get_output().stdout.clone();
    let report: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&report["run"], &report["step"], &report["problems"]), (&"mine".into(), &6.into(), &20.into()));
    let metrics = report["metrics"].as_object().unwrap();
    let names: Vec<&String> = metrics.keys().collect();
    for name in ["loss", "exact_match", "exact_match/add", "exact_match/subtract", "exact_match/multiply", "exact_match/divide"] {
        assert!(metrics.contains_key(name), "{name} in {names:?}");
    }
    let text = evaluate(&runs, &["mine", "--problems", "5"]).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(text).unwrap();
    let loss = format!("{:.3}", metrics["loss"].as_f64().unwrap());
    assert!(text.contains(&loss) && text.contains("subtract"), "{text}");
    assert!(text.contains(&format!("{:.3}", report["entropy_floor_of_all_tokens"].as_f64().unwrap())), "{text}");
}

#[test]
fn a_run_without_a_checkpoint_is_an_error_with_a_hint() {
    let runs = trained();
    std::fs::remove_dir_all(runs.run("mine").checkpoints_dir()).unwrap();
    let output = evaluate(&runs, &["mine"]).assert().code(2).get_output().stderr.clone();
    let message = String::from_utf8(output).unwrap();
    assert!(message.contains("has no checkpoint yet") && message.contains("hint: "), "{message}");
}
