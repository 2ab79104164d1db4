//! `plot-loss` as a user calls it: files, errors, exit statuses.

use assert_cmd::Command;
use bitnet::run::{EvaluationRow, Log, MetricsRow, RunDirectory};
use bitnet::storage::DISK;
use std::fs;
use std::path::Path;

fn plot(runs_dir: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plot-loss"));
    command.arg("--runs-dir").arg(runs_dir).args(arguments).env_remove("COLUMNS").assert()
}

fn make_run(runs_dir: &Path, id: &str, num_steps: u64) -> RunDirectory {
    let run = RunDirectory::create(&DISK, runs_dir, id).unwrap();
    let mut log = Log::open(&DISK, &run.metrics_path()).unwrap();
    for step in 1..=num_steps {
        let row = MetricsRow {
            step,
            tokens: step * 64,
            loss: 3.5 / step as f64,
            learning_rate: 1e-3,
            weight_decay: 0.1,
            grad_norm: 1.0,
            skipped_steps: 0,
            step_seconds: 0.1,
            tokens_per_second: 640.0,
            unix_time: 1.7e9 + step as f64,
            mfu: None,
        };
        log.append(&row).unwrap();
    }
    run
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn without_arguments_the_newest_run_is_drawn_into_its_plots() {
    let dir = tempfile::tempdir().unwrap();
    let run = make_run(dir.path(), "mine", 20);
    let picture = run.plots_dir().join("loss.png");
    plot(dir.path(), &[]).success().stdout(format!("{}\n", picture.display())).stderr("");
    assert!(fs::read(&picture).unwrap().starts_with(b"\x89PNG\r\n"));
    let names: Vec<_> = fs::read_dir(run.plots_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["loss.png"], "nothing temporary is left");
}

#[test]
fn two_runs_are_drawn_into_the_named_svg() {
    let dir = tempfile::tempdir().unwrap();
    make_run(dir.path(), "mine", 20);
    make_run(dir.path(), "other", 1);
    let picture = dir.path().join("loss.svg");
    plot(dir.path(), &["mine", "other", "mine", "--smooth", "0.5", "--log", "--x", "tokens", "-o", picture.to_str().unwrap()]).success();
    let svg = fs::read_to_string(&picture).unwrap();
    assert!(svg.contains("\nloss of 2 runs\n") && svg.contains("\nmine\n") && svg.contains("\nother\n") && svg.contains("\ntokens\n"));
}

#[test]
fn the_terminal_gets_no_escapes_through_a_pipe_and_no_file_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let run = make_run(dir.path(), "mine", 20);
    let assert = plot(dir.path(), &["mine", "--terminal"]).success();
    let chart = text(&assert.get_output().stdout);
    assert!(chart.starts_with("mine\n") && !chart.contains('\x1b'), "{chart}");
    assert!(!run.plots_dir().exists());
}

#[test]
fn a_run_without_steps_is_drawn_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    make_run(dir.path(), "mine", 0);
    let assert = plot(dir.path(), &["mine"]).success();
    assert_eq!(text(&assert.get_output().stderr), "warning: mine has no steps yet\n");
}

#[test]
fn what_the_user_got_wrong_exits_with_2_and_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let no_runs = plot(dir.path(), &[]).code(2);
    assert!(text(&no_runs.get_output().stderr).contains("hint: start one with"));
    make_run(dir.path(), "mine", 3);
    for (arguments, message) in [
        (vec!["mime"], "hint: there is mine"),
        (vec!["mine", "-o", "loss.gif"], "hint: end it in .png or .svg"),
        (vec!["mine", "--smooth", "1"], "below 1"),
        (vec!["mine", "-o", "/nonexistent/loss.png"], "hint: make it first: mkdir -p /nonexistent"),
        (vec!["mine", "--y", "gradient"], "hint: there are loss, grad_norm, learning_rate"),
        (vec!["mine", "--terminal", "-o", "loss.png"], "cannot be used with"),
    ] {
        let assert = plot(dir.path(), &arguments).code(2).stdout("");
        let stderr = text(&assert.get_output().stderr);
        assert!(stderr.starts_with("error: ") && stderr.contains(message), "{stderr}");
    }
}

#[test]
fn other_columns_and_evaluations_are_drawn_and_the_learning_rate_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let run = make_run(dir.path(), "mine", 20);
    let mut log = Log::open(&DISK, &run.evaluation_path()).unwrap();
    log.append(&EvaluationRow { step: 10, metric: "exact_match/add".to_owned(), value: 0.5 }).unwrap();
    let svg = |arguments: &[&str]| {
        let picture = dir.path().join("x.svg");
        plot(dir.path(), &[&["mine", "-o", picture.to_str().unwrap()], arguments].concat()).success();
        fs::read_to_string(picture).unwrap()
    };
    assert!(svg(&[]).contains("\nlearning rate\n"));
    let without = svg(&["--no-learning-rate"]);
    assert!(!without.contains("learning rate") && without.contains("loss, smoothed (0.98)"), "{without}");
    let norm = svg(&["--y", "grad_norm"]);
    assert!(norm.contains("\ngrad norm\n") && !norm.contains("loss"), "{norm}");
    assert!(svg(&["--y", "exact_match/add"]).contains("\nexact match/add\n"));
    let stdout = plot(dir.path(), &["mine", "--y", "exact_match/add"]).success();
    assert!(text(&stdout.get_output().stdout).ends_with("plots/exact_match-add.png\n"));
}

#[test]
fn a_relative_path_is_where_the_user_is_though_the_recipe_runs_at_the_root() {
    let dir = tempfile::tempdir().unwrap();
    make_run(dir.path(), "mine", 3);
    let here = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_plot-loss"));
    command.arg("--runs-dir").arg(dir.path()).args(["mine", "-o", "loss.svg"]).env("BITNET_INVOCATION_DIR", here.path());
    command.assert().success().stdout(format!("{}\n", here.path().join("loss.svg").display()));
    assert!(here.path().join("loss.svg").is_file());
}
