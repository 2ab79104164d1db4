//! `chat` as a process on a small model folder: prompts and turns through a pipe, and what it refuses. The terminal is
//! tests/chat_terminal.rs's.

mod small_folder;

use assert_cmd::Command;
use bitnet::config::ModelConfig;
use small_folder::{ALPHABET, config, folder};
use std::fs;
use tempfile::TempDir;

/// Of characters that the model has tokens for.
const TEMPLATE: &str = "{% for message in messages %}{{ message.role + ' ' + message.content + '. ' }}{% endfor %}so ";

fn chat(dir: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    command.arg(dir.path()).args(arguments).arg("--runs-dir").arg(dir.path()).env("HF_HOME", dir.path()).env("HF_HUB_OFFLINE", "1");
    if !arguments.iter().any(|argument| argument.starts_with("--temperature")) {
        command.args(["--temperature", "0"]);
    }
    command
}

fn said(dir: &TempDir, arguments: &[&str], prompts: &str) -> String {
    String::from_utf8(chat(dir, arguments).write_stdin(prompts).assert().success().get_output().stdout.clone()).unwrap()
}

fn refused(dir: &TempDir, arguments: &[&str], prompts: &str) -> String {
    let output = chat(dir, arguments).write_stdin(prompts).assert().code(2).get_output().stderr.clone();
    String::from_utf8(output).unwrap()
}

/// What `generate` makes of a prompt.
fn continuation(dir: &TempDir, prompt: &str, max_new_tokens: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_generate"));
    command.arg("--model").arg(dir.path()).args(["--prompt", prompt, "--max-new-tokens", max_new_tokens, "--temperature", "0"]);
    let text = String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap();
    text.strip_prefix(prompt).unwrap().trim_end_matches('\n').to_owned()
}

fn with_template(config: &ModelConfig) -> TempDir {
    let dir = folder(config);
    fs::write(dir.path().join("chat_template.jinja"), TEMPLATE).unwrap();
    dir
}

#[test]
fn every_prompt_is_continued_on_a_line_of_its_own() {
    let dir = folder(&config());
    let text = said(&dir, &[], "to be \n\nor not\n");
    let expected = ["to be ", "or not"].map(|prompt| format!("{prompt}{}\n", continuation(&dir, prompt, "32")));
    assert_eq!(text, expected.concat());
    assert!(continuation(&dir, "to be ", "32").chars().count() == 32, "{text}");
}

#[test]
fn with_a_template_every_line_is_a_turn_that_knows_those_before() {
    let dir = with_template(&ModelConfig { max_position_embeddings: 256, ..config() });
    let flags = ["--max-new-tokens", "9"];
    let first = continuation(&dir, "user to be. so ", "9");
    let second = continuation(&dir, &format!("user to be. assistant {first}. user or not. so "), "9");
    assert_eq!(said(&dir, &flags, "to be\nor not\n"), format!("{first}\n{second}\n"));
    assert_ne!(second, continuation(&dir, "user or not. so ", "9"), "a test that cannot fail");
}

#[test]
fn a_chat_beyond_the_context_goes_on_without_its_oldest_turns() {
    let dir = with_template(&config());
    // A turn with its answer has 40 tokens, the next one 22, and 9 are to come: more than 64.
    let answer = format!("{}\n", continuation(&dir, "user to be or not. so ", "9"));
    assert_eq!(said(&dir, &["--max-new-tokens", "9"], &"to be or not\n".repeat(5)), answer.repeat(5));
    let roomy = with_template(&ModelConfig { max_position_embeddings: 256, ..config() });
    let text = said(&roomy, &["--max-new-tokens", "9"], &"to be or not\n".repeat(7));
    // Six turns fit; with the seventh, turns go until a quarter of the context is free: four of them stay.
    let turns: String = text.lines().skip(2).take(4).map(|answer| format!("user to be or not. assistant {answer}. ")).collect();
    assert_eq!(text.lines().nth(6), Some(&*continuation(&roomy, &format!("{turns}user to be or not. so "), "9")));
    let long = "a".repeat(70);
    assert!(refused(&dir, &[], &format!("{long}\n")).contains("more than the model's context of 64"));
}

#[test]
fn a_line_that_cannot_be_answered_is_reported_and_the_others_are_answered() {
    let dir = folder(&config());
    let output = chat(&dir, &[]).write_stdin(b"to be \nX\n\xff\nor not\n".as_slice()).assert().code(2).get_output().clone();
    let expected = ["to be ", "or not"].map(|prompt| format!("{prompt}{}\n", continuation(&dir, prompt, "32")));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected.concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("error: line 2: ") && stderr.contains("error: line 3: "), "{stderr}");
}

#[test]
fn a_template_of_the_model_that_is_not_used_is_not_looked_at() {
    let dir = folder(&config());
    fs::write(dir.path().join("chat_template.jinja"), format!("{{{{ 1{} }}}}", " + 1".repeat(50_000))).unwrap();
    let message = refused(&dir, &[], "to be\n");
    assert!(message.contains("more than 500 operators and brackets in one tag"), "{message}");
    assert_eq!(continuation(&dir, "to be ", "4").chars().count(), 4);
    let plain = chat(&dir, &["--template", "chatlm"]).write_stdin("").assert().code(2).get_output().stderr.clone();
    assert!(String::from_utf8(plain).unwrap().contains("there is no chat template \"chatlm\""));
    assert_eq!(said(&dir, &["--template", "plain"], ""), "");
}

#[test]
fn what_a_template_says_moves_no_cursor_of_a_terminal() {
    let dir = folder(&config());
    fs::write(dir.path().join("chat_template.jinja"), "{{ raise_exception('\u{1b}[2Jgone') }}").unwrap();
    let message = refused(&dir, &[], "to be\n");
    assert!(message.contains("[2Jgone") && !message.contains('\u{1b}'), "{message:?}");
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_file_of_a_model_is_refused_at_once() {
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let dir = folder(&config());
        fs::remove_file(dir.path().join(name)).unwrap();
        std::process::Command::new("mkfifo").arg(dir.path().join(name)).status().unwrap();
        let message = refused(&dir, &[], "to be\n");
        // Without its config.json it is no model folder at all.
        let is_named = message.contains(name) && message.contains("this is a pipe, a socket or a device, not a file");
        assert!(is_named || name == "config.json", "{name}: {message}");
    }
}

#[test]
fn a_template_by_name_makes_a_base_model_answer() {
    let alphabet = "abcdefghijklmnopqrstuvwxyz .UA:\n";
    assert!(alphabet.chars().count() + 4 > 34, "it needs more tokens than the folder's");
    let dir = folder(&ModelConfig { vocab_size: 40, ..config() });
    let tokenizer = bitnet::tokenizer::Tokenizer::characters(alphabet, 40).unwrap();
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_json().unwrap()).unwrap();
    let answer = said(&dir, &["--template", "plain", "--max-new-tokens", "7"], "to be\n");
    assert_eq!(answer, format!("{}\n", continuation(&dir, "User: to be\nAssistant:", "7")));
    assert!(refused(&dir, &["--template", "plane"], "").contains("hint: there is chatml, llama3, bitnet, plain"));
}

#[test]
fn a_seed_repeats_what_chance_chose_and_another_seed_does_not() {
    let dir = folder(&config());
    let flags = |seed| ["--temperature", "3", "--top-k", "30", "--top-p", "0.99", "--max-new-tokens", "20", "--seed", seed];
    let said = |seed| said(&dir, &flags(seed), "to be\n");
    assert_eq!(said("1"), said("1"));
    assert_ne!(said("1"), said("2"));
}

#[test]
fn what_cannot_be_done_is_one_clear_error() {
    let dir = folder(&config());
    let message = refused(&dir, &[], "to X\n");
    assert!(!ALPHABET.contains('X') && message.contains("'X'") && message.contains('3') && message.contains("hint: "), "{message}");
    for (flag, value) in [("--temperature", "nan"), ("--temperature=-1", ""), ("--top-p", "0"), ("--top-p", "1.5"), ("--threads", "0")] {
        let arguments: Vec<&str> = [flag, value].into_iter().filter(|word| !word.is_empty()).collect();
        refused(&dir, &arguments, "to be\n");
    }
    fs::write(dir.path().join("chat_template.jinja"), "{% for %}").unwrap();
    let message = refused(&dir, &[], "to be\n");
    assert!(message.contains(dir.path().to_str().unwrap()) && message.contains("chat template:1"), "{message}");
}

#[test]
fn a_model_that_is_not_there_is_an_error_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("mine/logs")).unwrap();
    for (name, expected) in [("mine", "has no checkpoint yet"), ("nobody", "no run \"nobody\""), ("owner/name", "owner/name")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        command.arg(name).arg("--runs-dir").arg(dir.path()).env("HF_HOME", dir.path()).env("HF_HUB_OFFLINE", "1");
        let message = String::from_utf8(command.assert().code(2).get_output().stderr.clone()).unwrap();
        assert!(message.contains(expected) && message.contains("hint: "), "{name}: {message}");
    }
}
