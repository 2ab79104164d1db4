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
    if !arguments.contains(&"--temperature") && !arguments.iter().any(|argument| argument.starts_with("--temperature=")) {
        command.args(["--temperature", "0"]);
    }
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

/// The text and what is said on standard error, of a command line of one's own.
fn of_line(arguments: &[&str]) -> (String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_generate")).args(arguments).assert().success().get_output().clone();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn tokens_are_drawn_as_the_model_says_or_else_at_the_temperature_of_the_page() {
    let dir = folder(&config());
    let path = dir.path().to_str().unwrap();
    let line = |flags: &[&str]| of_line(&[&[path, "--prompt", "to be "], flags].concat());
    let (text, said) = line(&[]);
    assert!(said.contains("temperature 0.8"), "{said}");
    assert_eq!(text, line(&["--temperature", "0.8", "--top-k", "0", "--top-p", "1"]).0);
    for (config, expected) in [
        (r#"{"do_sample": true, "temperature": 0.25, "top_k": 3, "top_p": 0.5}"#, ["0.25", "3", "0.5"]),
        (r#"{"do_sample": false, "temperature": 0.25}"#, ["0.8", "0", "1"]),
    ] {
        fs::write(dir.path().join("generation_config.json"), config).unwrap();
        let [temperature, top_k, top_p] = expected;
        let (text, said) = line(&[]);
        assert!(said.contains(&format!("temperature {temperature}")), "{said}");
        assert_eq!(text, line(&["--temperature", temperature, "--top-k", top_k, "--top-p", top_p]).0);
    }
    assert!(line(&["--temperature", "0"]).1.contains("temperature 0"));
}

#[test]
fn a_model_is_named_with_or_without_its_flag() {
    let dir = folder(&config());
    let path = dir.path().to_str().unwrap();
    assert_eq!(of_line(&[path, "--prompt", "to be "]).0, of_line(&["--model", path, "--prompt", "to be "]).0);
    Command::new(env!("CARGO_BIN_EXE_generate")).args([path, "--model", path, "--prompt", "a"]).assert().code(2);
}

#[test]
fn a_prompt_that_is_too_long_is_refused_before_a_word_of_it_is_written() {
    let dir = folder(&config());
    let output = generate(&dir, &["--prompt", &"a".repeat(200)]).assert().code(2).get_output().clone();
    assert!(output.stdout.is_empty() && String::from_utf8(output.stderr).unwrap().contains("more than the model's context of 64"));
}
