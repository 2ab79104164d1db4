//! The event file of a run, as TensorBoard's own reader sees it: every row once, also after a resume, and texts as they were written.
//! Needs a python3 with the package `tensorboard`: TENSORBOARD_PYTHON, .pytorch/bin/python or python3; else it says what it skipped.

use bitnet::run::{EvaluationRow, MetricsRow, RunDirectory, RunLogs, SampleRow};
use bitnet::storage::DISK;
use serde_json::{Value, json};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Prints every scalar and text of a directory as JSON.
const READER: &str = r#"
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0})
events.Reload()
tags = events.Tags()
shown = lambda value: value if value == value else "NaN"
print(json.dumps({
    "scalars": {tag: [[e.wall_time, e.step, shown(e.value)] for e in events.Scalars(tag)] for tag in tags["scalars"]},
    "texts": {tag: [[e.step, e.tensor_proto.string_val[0].decode()] for e in events.Tensors(tag)] for tag in tags["tensors"]},
    "plugins": {tag: events.SummaryMetadata(tag).plugin_data.plugin_name for tag in tags["tensors"]},
}))
"#;

/// A Python that has TensorBoard.
fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".pytorch/bin/python");
    let candidates = env::var_os("TENSORBOARD_PYTHON").map(PathBuf::from).into_iter().chain([own, PathBuf::from("python3")]);
    let has_tensorboard = |python: &PathBuf| {
        let imported = Command::new(python).args(["-c", "import tensorboard"]).output();
        imported.is_ok_and(|output| output.status.success())
    };
    candidates.into_iter().find(has_tensorboard)
}

fn read(python: &Path, dir: &Path) -> Value {
    let output = Command::new(python).args(["-c", READER]).arg(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn metrics(step: u64, loss: f64) -> MetricsRow {
    MetricsRow {
        step,
        tokens: 64 * step,
        loss,
        learning_rate: 0.25,
        weight_decay: 0.125,
        grad_norm: if step == 2 { f64::NAN } else { 1.0 },
        skipped_steps: 0,
        step_seconds: 0.5,
        tokens_per_second: 128.0,
        unix_time: 1_700_000_000.5 + step as f64,
        mfu: None,
    }
}

fn sample(step: u64, prompt: &str, mode: &str, completion: &str) -> SampleRow {
    SampleRow { step, prompt: prompt.into(), mode: mode.into(), completion: completion.into() }
}

/// Steps 1 to 6 with a loss of 1 + step, stopped; then again from step 4 on, with a loss of step.
fn write_resumed_run(run: &RunDirectory) {
    let mut logs = RunLogs::open(&DISK, run, 0).unwrap();
    (1..=6).for_each(|step| logs.record_step(&metrics(step, 1.0 + step as f64)).unwrap());
    logs.record_evaluation(&[EvaluationRow { step: 6, metric: "loss".into(), value: 9.0 }]).unwrap();
    drop(logs);
    let mut logs = RunLogs::open(&DISK, run, 3).unwrap();
    (4..=6).for_each(|step| logs.record_step(&metrics(step, step as f64)).unwrap());
    let evaluation = |metric: &str, value| EvaluationRow { step: 6, metric: metric.into(), value };
    logs.record_evaluation(&[evaluation("loss", 0.5), evaluation("exact_match/add", 0.75)]).unwrap();
    let samples = [sample(6, "Käse", "greedy", " 🦀\n"), sample(6, "a", "hot", "b\n\n# c"), sample(6, "d", "greedy", "e")];
    logs.record_samples(&samples).unwrap();
}

#[test]
fn tensorboards_own_reader_sees_every_row_of_a_resumed_run_once() {
    let Some(python) = python() else {
        println!("skipped: no python with tensorboard; TENSORBOARD_PYTHON names one");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(&DISK, dir.path(), "mine").unwrap();
    write_resumed_run(&run);
    let seen = read(&python, &run.tensorboard_dir());
    let times = |step: u64| 1_700_000_000.5 + step as f64;
    let losses = [2.0, 3.0, 4.0, 4.0, 5.0, 6.0].iter().zip(1..).map(|(loss, step)| json!([times(step), step, loss]));
    assert_eq!(seen["scalars"]["train/loss"], Value::Array(losses.collect()));
    assert_eq!(seen["scalars"]["train/grad_norm"][1][2], "NaN");
    let flat = [("learning_rate", 0.25), ("weight_decay", 0.125), ("grad_norm", 1.0), ("tokens_per_second", 128.0)];
    for (name, value) in flat {
        assert_eq!(seen["scalars"][format!("train/{name}")][5], json!([times(6), 6, value]), "{name}");
    }
    assert_eq!(seen["scalars"]["eval/loss"], json!([[times(6), 6, 0.5]]));
    assert_eq!(seen["scalars"]["eval/exact_match/add"], json!([[times(6), 6, 0.75]]));
    assert_eq!(seen["scalars"].as_object().unwrap().len(), 7);
    let texts = json!({"samples/greedy": [[6, "    Käse 🦀\n\n---\n\n    de"]], "samples/hot": [[6, "    ab\n    \n    # c"]]});
    assert_eq!(seen["texts"], texts);
    assert_eq!(seen["plugins"], json!({"samples/greedy": "text", "samples/hot": "text"}));
}
