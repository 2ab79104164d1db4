//! check-gpu on the CPU, at sizes for tests: every part runs, what it finds is written, and a part that hangs or fails costs nothing but itself.
#![cfg(feature = "torch")]

use bitnet::config::DeviceChoice;
use bitnet::train::check_gpu::{Part, Report, Scale, Supervisor, Verdict, check_gpu};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

fn check(out: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_check-gpu"));
    command.args(["--device", "cpu", "--scale", "tiny", "-o"]).arg(out).args(arguments).env("OMP_NUM_THREADS", "1");
    command.output().unwrap()
}

fn report(out: &Path) -> Report {
    serde_json::from_slice(&fs::read(out.join("check-gpu.json")).unwrap()).unwrap()
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_part_runs_on_a_cpu_and_agrees_with_itself() {
    let dir = tempfile::tempdir().unwrap();
    let output = check(dir.path(), &[]);
    assert!(output.status.success(), "{}", text_of(&output));
    let report = report(dir.path());
    assert_eq!(
        report.parts.iter().map(|part| part.name.clone()).collect::<Vec<_>>(),
        Part::all().into_iter().map(Part::name).collect::<Vec<_>>()
    );
    for part in &report.parts {
        let is_measured = part.name.starts_with("speed") || ["surroundings", "operators"].contains(&&*part.name);
        assert_eq!(part.verdict, if is_measured { Verdict::Measured } else { Verdict::Right }, "{part:?}");
    }
    let numbers = |name: &str| &report.parts.iter().find(|part| part.name == name).unwrap().finding.as_ref().unwrap().numbers;
    assert_eq!(numbers("codes")["different_rows"], 0);
    assert_eq!(numbers("losses-arithmetic")["largest_difference"], 0.0, "reading late changes no loss on a CPU");
    assert_eq!(numbers("resume")["weight_difference"], 0.0);
    assert_eq!((numbers("resume")["stopped_at"].as_u64(), numbers("resume")["has_all_rows"].as_bool()), (Some(10), Some(true)));
    let speed = numbers("speed-124m-ternary");
    assert!(speed["tokens_per_second"].as_f64().unwrap() > 0.0 && speed["mfu"].as_f64().unwrap() > 0.0, "{speed}");
    assert!(speed["peak_memory_bytes"].as_u64().unwrap() > 1 << 20, "{speed}");
    assert!(numbers("operators")["operators"].as_array().unwrap().len() > 5);

    let text = fs::read_to_string(dir.path().join("check-gpu.md")).unwrap();
    for words in
        ["| codes | right |", "## Codes", "## Gradients", "## Losses", "## Speed", "| full-precision |", "## Time by operator", "## Resume"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!dir.path().join("work").exists());
}

#[test]
fn without_time_every_part_is_skipped_and_that_is_written() {
    let dir = tempfile::tempdir().unwrap();
    assert!(check(dir.path(), &["--budget-seconds", "0"]).status.success());
    assert!(report(dir.path()).parts.iter().all(|part| part.verdict == Verdict::Skipped));
    assert!(fs::read_to_string(dir.path().join("check-gpu.md")).unwrap().contains("| resume | skipped |"));
}

#[test]
fn a_part_that_does_not_exist_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output = check(dir.path(), &["--parts", "codes,speed"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text_of(&output).contains("there is no part speed"), "{}", text_of(&output));
}

/// A program in place of check-gpu's own.
fn supervised(dir: &Path, program: &str, parts: Vec<Part>, budget: Duration) -> Report {
    let path = dir.join("program");
    fs::write(&path, format!("#!/bin/sh\n{program}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let supervisor =
        Supervisor { program: path, device: DeviceChoice::Cpu, scale: Some(Scale::Tiny), parts, budget, out_dir: dir.join("out") };
    let mut said = 0;
    let report = check_gpu(&supervisor, &mut |_| said += 1).unwrap();
    assert_eq!(said, report.parts.len());
    assert_eq!(self::report(&dir.join("out")), report);
    report
}

#[test]
fn a_part_that_hangs_is_ended_when_its_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let report = supervised(dir.path(), "exec sleep 600", vec![Part::Codes, Part::Resume], Duration::from_millis(300));
    assert_eq!(report.parts[0].verdict, Verdict::Skipped);
    assert!(report.parts[0].summary.contains("was ended"), "{report:?}");
    assert_eq!(report.parts[1].summary, "the time was over");
}

#[test]
fn a_part_that_fails_is_reported_with_its_last_words_and_the_next_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let program = "echo 'error: no memory' >&2; [ \"$2\" = resume ] || exit 3; kill -9 $$";
    let report = supervised(dir.path(), program, vec![Part::Codes, Part::Resume], Duration::from_secs(60));
    assert!(!report.is_right());
    for (part, words) in report.parts.iter().zip(["exit status: 3", "signal: 9"]) {
        assert_eq!(part.verdict, Verdict::Failed);
        assert!(part.summary.contains(words) && part.summary.contains("no memory"), "{part:?}");
    }
}

/// scripts/check-gpu, as on a machine without cargo whose python3 has a torch of `version`, and whose binary finds no other libtorch.
fn by_script(dir: &Path, version: &str, arguments: &[&str]) -> Output {
    let package = dir.join("site-packages/torch");
    fs::create_dir_all(&package).unwrap();
    fs::write(package.join("__init__.py"), format!("__version__ = '{version}'\n")).unwrap();
    let lib = PathBuf::from(env!("BITNET_LIBTORCH_LIB"));
    if !package.join("lib").exists() {
        symlink(lib, package.join("lib")).unwrap();
    }
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/check-gpu"));
    command.args(["--binary", env!("CARGO_BIN_EXE_check-gpu"), "--python", "python3"]).args(arguments);
    command.env("PYTHONPATH", dir.join("site-packages")).env_remove("LIBTORCH").env_remove("LD_LIBRARY_PATH");
    command.output().unwrap()
}

#[test]
fn the_script_runs_a_binary_on_the_libtorch_of_an_installed_pytorch() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let arguments = ["--device", "cpu", "--scale", "tiny", "--parts", "codes", "-o", out.to_str().unwrap()];
    let output = by_script(dir.path(), "2.11.0+cu130", &arguments);
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(report(&out).parts[0].verdict, Verdict::Right);
}

#[test]
fn the_script_refuses_a_pytorch_of_another_version_and_a_binary_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let output = by_script(dir.path(), "2.1.1", &["--version"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text_of(&output).contains("its torch is 2.1.1, not 2.11"), "{}", text_of(&output));
    let output = by_script(dir.path(), "2.11.0", &["--binary", "/nowhere/check-gpu"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text_of(&output).contains("there is no program /nowhere/check-gpu"), "{}", text_of(&output));
}
