//! The program `doctor` on machines that have little: whatever it finds, it says so line by line and ends with the right status.

use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const NAMES: [&str; 11] =
    ["toolchain", "compiler", "python", "libtorch", "training", "inference", "cores", "memory", "large pages", "disk", "hub"];

/// In an empty directory with an empty home, and nothing in the environment but the path.
fn doctor(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doctor"));
    let home = dir.join("home");
    fs::create_dir_all(&home).unwrap();
    command.env_clear().env("HOME", home).env("PATH", std::env::var_os("PATH").unwrap()).current_dir(dir);
    command
}

/// Status and lines.
fn said(command: &mut Command) -> (i32, Vec<String>) {
    let output = command.output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

fn has(lines: &[String], verdict: &str, name: &str) -> bool {
    lines.iter().any(|line| line.starts_with(verdict) && line[9..].starts_with(name))
}

#[test]
fn in_an_empty_home_every_check_is_a_line_and_nothing_is_left_behind() {
    let dir = TempDir::new().unwrap();
    let (status, lines) = said(&mut doctor(dir.path()));
    assert_eq!(lines.len(), NAMES.len() + 1, "{lines:#?}");
    for (line, name) in lines.iter().zip(NAMES.iter().chain(&["runs"])) {
        let verdict = line.split_whitespace().next().unwrap();
        assert!(["ok", "warning", "error"].contains(&verdict) && line[9..].starts_with(name), "{line}");
        assert_eq!(line.contains("; type: "), verdict != "ok", "{line}");
        assert!(!line.contains('\u{1b}'), "no colours in a pipe: {line:?}");
    }
    assert!(has(&lines, "error", "libtorch") && has(&lines, "ok", "runs") && has(&lines, "ok", "hub"), "{lines:#?}");
    assert_eq!(status, 1, "training will not work");
    let left = |dir: &Path| fs::read_dir(dir).unwrap().flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
    assert_eq!(left(dir.path()), ["home"]);
    // Programs that are asked for their version, such as rustup's, may keep something there; a trial of ours may not stay.
    let home = dir.path().join("home");
    assert!(!home.join(".cache/huggingface").exists() && !left(&home).iter().any(|name| name.to_string_lossy().starts_with(".doctor")));
}

#[test]
fn without_tools_or_a_home_they_are_what_is_missing() {
    let dir = TempDir::new().unwrap();
    let (status, lines) = said(doctor(dir.path()).env("PATH", dir.path()).env_remove("HOME"));
    assert!(["toolchain", "compiler", "python"].iter().all(|name| has(&lines, "error", name)), "{lines:#?}");
    assert!(has(&lines, "warning", "hub"), "{lines:#?}");
    assert_eq!(status, 1);
}

#[test]
fn runs_that_cannot_be_written_are_an_error() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let (status, lines) = said(doctor(dir.path()).args(["--runs-dir", "file/runs"]));
    assert!(has(&lines, "error", "runs"), "{lines:#?}");
    assert_eq!(status, 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let runs = dir.path().join("runs");
        fs::create_dir(&runs).unwrap();
        fs::set_permissions(&runs, fs::Permissions::from_mode(0o555)).unwrap();
        // Permissions bind everybody but the administrator.
        let verdict = if fs::write(runs.join("probe"), "").is_ok() { "ok" } else { "error" };
        assert!(has(&said(&mut doctor(dir.path())).1, verdict, "runs"));
        fs::set_permissions(&runs, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_token_is_said_to_be_there_and_never_shown() {
    let dir = TempDir::new().unwrap();
    let secret = "hf_secret123456";
    for arguments in [&[][..], &["--json"]] {
        let (_, lines) = said(doctor(dir.path()).env("HF_TOKEN", secret).args(arguments));
        let text = lines.join("\n");
        assert!(text.contains("a token is set") && !text.contains("secret"), "{text}");
    }
}

#[test]
fn json_says_the_same() {
    let dir = TempDir::new().unwrap();
    let output = doctor(dir.path()).arg("--json").output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = json["checks"].as_array().unwrap();
    assert_eq!(checks.iter().map(|check| check["name"].as_str().unwrap()).collect::<Vec<_>>(), [&NAMES[..], &["runs"]].concat());
    assert!(checks.iter().all(|check| check["type"].is_null() == (check["verdict"] == "ok")), "{json:#}");
    assert_eq!((json["works"].as_bool(), output.status.code()), (Some(false), Some(1)));
}

#[test]
fn a_libtorch_of_another_version_and_a_kernel_that_is_none_are_told() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("own/lib")).unwrap();
    fs::write(dir.path().join("own/build-version"), "2.1.0\n").unwrap();
    let (_, lines) = said(doctor(dir.path()).env("LIBTORCH", "own").env("BITNET_KERNEL", "abacus"));
    assert!(has(&lines, "error", "libtorch") && lines[3].contains("LIBTORCH=own is version 2.1.0"), "{lines:#?}");
    assert!(has(&lines, "error", "inference") && lines[5].contains("no kernel 'abacus'"), "{lines:#?}");
}
