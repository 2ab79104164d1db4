//! `generate` as a process on a small model folder: text and JSON on stdout, speed on stderr, and what it refuses.

mod small_folder;

use assert_cmd::Command;
use serde_json::Value;
use small_folder::{config, folder};
use std::fs;
use tempfile::TempDir;

fn generate(dir: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_generate"));
    command.arg("--model").arg(dir.path()).args(["--max-new-tokens", "12"]).args(arguments);
    command
}

fn said(dir: &TempDir, arguments: &[&str]) -> String {
    String::from_utf8(generate(dir, arguments).assert().success().get_output().stdout.clone()).unwrap()
}

fn json(dir: &TempDir, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(dir, &[&["--json"], arguments].concat())).unwrap()
}

#[test]
fn a_prompt_is_continued_on_stdout_and_its_speed_is_told_on_stderr() {
    let dir = folder(&config());
    let output = generate(&dir, &["--prompt", "to be "]).assert().success().get_output().clone();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((text.chars().count(), text.starts_with("to be "), text.ends_with('\n')), (6 + 12 + 1, true, true), "{text}");
    let speed = String::from_utf8(output.stderr).unwrap();
    assert!(
        speed.starts_with("prompt: 6 tokens, ") && speed.contains("text: 12 tokens, ") && speed.contains("(max_new_tokens)"),
        "{speed}"
    );
    let from_stdin = generate(&dir, &[]).write_stdin("to be \n").assert().success().get_output().stdout.clone();
    assert_eq!(String::from_utf8(from_stdin).unwrap(), text);
}

#[test]
fn json_holds_the_text_and_what_it_took() {
    let dir = folder(&config());
    let report = json(&dir, &["--prompt", "to be "]);
    assert_eq!(format!("to be {}\n", report["text"].as_str().unwrap()), said(&dir, &["--prompt", "to be "]));
    assert_eq!((report["num_prompt_tokens"].as_u64(), report["num_tokens"].as_u64()), (Some(6), Some(12)));
    assert_eq!((report["tokens"].as_array().unwrap().len(), report["ending"].as_str()), (12, Some("max_new_tokens")));
    let whole = report["text"].as_str().unwrap();
    let stop: String = whole.chars().skip(4).take(2).collect();
    let stopped = json(&dir, &["--prompt", "to be ", "--stop", &stop]);
    assert_eq!(stopped["text"].as_str(), whole.split(&stop).next());
    assert_eq!(stopped["ending"], "stop_string");
}

#[test]
fn json_holds_log_probabilities_that_were_asked_for() {
    let dir = folder(&config());
    let report = json(&dir, &["--prompt", "to be ", "--log-probabilities", "2"]);
    let tokens = report["tokens"].as_array().unwrap();
    let found = report["log_probabilities"].as_array().unwrap();
    assert_eq!((found.len(), tokens.len()), (12, 12));
    for (found, token) in found.iter().zip(tokens) {
        // The likeliest is chosen.
        let top = found["top"].as_array().unwrap();
        assert_eq!((top.len(), &top[0]["token"], &top[0]["log_probability"]), (2, token, &found["log_probability"]));
        let [first, second] = [&top[0], &top[1]].map(|one| one["log_probability"].as_f64().unwrap());
        assert!(second <= first && first < 0.0, "{found}");
    }
    assert!(json(&dir, &["--prompt", "to be "]).get("log_probabilities").is_none());
}

#[test]
fn a_seed_repeats_what_chance_chose_and_another_does_not() {
    let dir = folder(&config());
    let flags = ["--prompt", "to be ", "--temperature", "2", "--top-k", "30", "--top-p", "0.99", "--min-p", "0.001", "--seed"];
    let said = |seed: &str| said(&dir, &[&flags[..], &[seed]].concat());
    assert_eq!(said("1"), said("1"));
    assert_ne!(said("1"), said("2"));
}

#[test]
fn what_cannot_be_done_is_one_clear_error() {
    let dir = folder(&config());
    let refused = |arguments: &[&str]| {
        let output = generate(&dir, arguments).assert().failure().code(2).get_output().stderr.clone();
        String::from_utf8(output).unwrap()
    };
    assert!(refused(&["--prompt", &"a".repeat(65)]).contains("65 tokens, more than the model's context of 64"));
    assert!(refused(&["--prompt", ""]).contains("the prompt is empty"));
    assert!(refused(&["--prompt", "a", "--temperature=-1"]).contains("temperature -1"));
    assert!(refused(&["--prompt", "a", "--threads", "0"]).contains("--threads 0"));
    assert!(refused(&["--prompt", "ABC"]).contains("error: "));
    fs::write(dir.path().join("model.safetensors"), [0; 100]).unwrap();
    assert!(refused(&["--prompt", "a"]).contains("no valid safetensors file"));
    let absent = Command::new(env!("CARGO_BIN_EXE_generate")).args(["--model", "nobody", "--runs-dir"]).arg(dir.path()).assert().code(2);
    assert!(String::from_utf8_lossy(&absent.get_output().stderr).contains("nobody"));
}

#[test]
fn vectors_and_kernels_that_the_processor_lacks_are_refused_by_name() {
    let dir = folder(&config());
    for (variable, what) in [("BITNET_DENSE", "this processor has no vectors 'sse', only portable"), ("BITNET_KERNEL", "no kernel 'sse'")] {
        let output = generate(&dir, &["--prompt", "to be "]).env(variable, "sse").assert().code(2).get_output().clone();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(variable) && message.contains(what), "{message}");
    }
}
