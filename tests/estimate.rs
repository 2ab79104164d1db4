//! `estimate` as a user calls it: for people, for programs, and with mistakes.

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use bitnet::run::{Log, MetricsRow, RunDirectory};
use bitnet::storage::DISK;

const EXAMPLE: &str = "tests/fixtures/example";

fn estimate(arguments: &[&str]) -> Assert {
    Command::new(env!("CARGO_BIN_EXE_estimate")).current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).assert()
}

fn stdout(arguments: &[&str]) -> String {
    String::from_utf8(estimate(arguments).success().get_output().stdout.clone()).unwrap()
}

fn json(arguments: &[&str]) -> serde_json::Value {
    serde_json::from_str(&stdout(&[arguments, &["--json"]].concat())).unwrap()
}

#[test]
fn without_a_machine_it_says_what_has_to_be_done_and_held() {
    let text = stdout(&[EXAMPLE]);
    let names: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["parameters", "steps", "tokens", "arithmetic", "memory", "checkpoint"]);
    assert!(text.contains("5,129,472") && text.contains("9,830,400") && text.contains("3.14e14 FLOP"), "{text}");
}

#[test]
fn without_a_machine_it_says_how_to_learn_the_time() {
    let said = |arguments: &[&str]| String::from_utf8(estimate(arguments).success().get_output().stderr.clone()).unwrap();
    assert!(said(&[EXAMPLE]).contains("hint: for the time, --gpu NAME") && said(&[EXAMPLE]).contains("--flops N"));
    assert_eq!(said(&[EXAMPLE, "--flops", "1e9"]), "");
}

#[test]
fn a_gpu_gives_time_price_and_whether_it_fits() {
    let text = stdout(&[EXAMPLE, "--gpu", "rtx3060", "--price", "36"]);
    assert!(text.contains("(fits: needs ") && text.contains("31 s  (319,184 tokens/s, 40 % of 25.5 TFLOPS)"), "{text}");
    assert!(text.contains("$0.31  ($36.00 an hour)"), "{text}");
    let large = stdout(&[EXAMPLE, "--gpu", "rtx3060", "--batch-size", "4096"]);
    assert!(large.contains("(does not fit: needs "), "{large}");
}

#[test]
fn programs_get_every_figure() {
    let report = json(&[EXAMPLE, "--gpu", "rtx3060", "--mfu", "0.2", "--num-steps", "1200"]);
    assert_eq!(report["experiment"], "arithmetic");
    assert_eq!((&report["estimate"]["num_steps"], &report["estimate"]["total_tokens"]), (&1200.into(), &4_915_200.into()));
    assert_eq!(report["estimate"]["kernels"], "gpu");
    assert_eq!((&report["gpu"]["accelerator"]["name"], &report["gpu"]["fits"]), (&"rtx3060".into(), &true.into()));
    let seconds = report["gpu"]["seconds"].as_f64().unwrap();
    assert!((seconds - 4_915_200.0 * 31_956_480.0 / (0.2 * 25.5e12)).abs() < 1e-6, "{seconds}");
    assert!(report["measured"].is_null());
}

#[test]
fn a_speed_that_was_given_or_measured_gives_the_time() {
    let given = json(&[EXAMPLE, "--tokens-per-second", "4096", "--price", "1.5"]);
    assert_eq!((&given["measured"]["seconds"], &given["measured"]["usd"]), (&2400.0.into(), &1.0.into()));
    assert_eq!(given["estimate"]["kernels"], "cpu_codes");
    let of_flops = json(&[EXAMPLE, "--flops", "31956480e3"]);
    assert_eq!(of_flops["measured"]["tokens_per_second"], 1000.0);
    let dir = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(&DISK, dir.path(), "mine").unwrap();
    let runs_dir = dir.path().to_str().unwrap();
    let none = estimate(&[EXAMPLE, "--like", "mine", "--runs-dir", runs_dir]).code(2).get_output().stderr.clone();
    assert!(String::from_utf8(none).unwrap().contains("run mine has taken no step yet\nhint: "));
    let row = |step: u64| MetricsRow {
        step,
        tokens: 1000 * step,
        loss: 1.0,
        learning_rate: 1.0,
        weight_decay: 0.0,
        grad_norm: 1.0,
        skipped_steps: 0,
        step_seconds: 0.5,
        tokens_per_second: 2000.0,
        unix_time: 1.7e9,
        mfu: None,
    };
    let mut log = Log::open(&DISK, &run.metrics_path()).unwrap();
    (1..=3).for_each(|step| log.append(&row(step)).unwrap());
    let measured = json(&[EXAMPLE, "--like", "mine", "--runs-dir", runs_dir]);
    assert_eq!(measured["measured"]["tokens_per_second"], 2000.0);
}

#[test]
fn known_gpus_are_listed_without_an_experiment() {
    let table = stdout(&["--gpu", "list"]);
    assert!(table.starts_with("gpu ") && table.contains("rtx3060") && table.contains("h200"), "{table}");
}

#[test]
fn mistakes_end_with_2_and_a_cure() {
    let cases: [(&[&str], &str); 6] = [
        (&[EXAMPLE, "--gpu", "rtx3061"], "no GPU called \"rtx3061\" is known\nhint: did you mean rtx3060?"),
        (&[], "no experiment is named\nhint: such as: estimate arithmetic"),
        (&[EXAMPLE, "--mfu", "1.5"], "--mfu 1.5: it must be a share of the peak"),
        (&[EXAMPLE, "--price", "-1"], "unexpected argument"),
        (&[EXAMPLE, "--tokens-per-second", "0"], "--tokens-per-second 0: it must be above 0"),
        (&[EXAMPLE, "--set", "train.batch=1"], "unknown key `train.batch`"),
    ];
    for (arguments, said) in cases {
        let stderr = String::from_utf8(estimate(arguments).code(2).get_output().stderr.clone()).unwrap();
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}
