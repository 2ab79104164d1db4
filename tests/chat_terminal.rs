//! `chat` at a pseudo-terminal: what is typed, edited, remembered, stopped and saved.
#![cfg(unix)]

mod small_folder;

use bitnet::config::ModelConfig;
use rexpect::session::{PtySession, spawn_command};
use serde_json::{Value, json};
use small_folder::{config, folder};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Long enough for any machine; a test that passes waits for nothing.
const TIMEOUT_MS: u64 = 120_000;
const UP: &str = "\u{1b}[A";

/// A model that never ends a text, with room for long ones.
fn model(template: Option<&str>) -> TempDir {
    let dir = folder(&ModelConfig { max_position_embeddings: 30_000, ..config() });
    if let Some(template) = template {
        std::fs::write(dir.path().join("chat_template.jinja"), template).unwrap();
    }
    dir
}

fn chat(dir: &TempDir, max_new_tokens: &str) -> PtySession {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    command.arg(dir.path()).args(["--max-new-tokens", max_new_tokens, "--temperature", "0"]).current_dir(dir.path());
    command.env("XDG_STATE_HOME", dir.path().join("state")).env("TERM", "xterm").env("NO_COLOR", "1");
    let mut session = spawn_command(command, Some(TIMEOUT_MS)).unwrap();
    expect_then_prompt(&mut session, "/help lists the commands, Ctrl-D leaves");
    session
}

/// What comes before `text`, which ends its line or nearly so; then the prompt.
fn expect_then_prompt(session: &mut PtySession, text: &str) -> String {
    let before = session.exp_string(text).unwrap();
    session.exp_string("\n").unwrap();
    session.exp_string("> ").unwrap();
    before
}

/// What comes up to the speed that ends an answer.
fn answer_to(session: &mut PtySession, line: &str) -> String {
    session.send_line(line).unwrap();
    expect_then_prompt(session, " a second")
}

fn obey(session: &mut PtySession, command: &str, said: &str) {
    session.send_line(command).unwrap();
    expect_then_prompt(session, said);
}

fn saved(session: &mut PtySession, dir: &Path, name: &str) -> Value {
    obey(session, &format!("/save {name}"), &format!("saved {name}"));
    serde_json::from_slice(&std::fs::read(dir.join(name)).unwrap()).unwrap()
}

fn leave(mut session: PtySession) {
    session.send_control('d').unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn an_answer_is_followed_by_its_speed_and_ctrl_d_leaves() {
    let dir = model(None);
    let mut session = chat(&dir, "12");
    let text = answer_to(&mut session, "to be ");
    assert!(text.contains("to be ") && text.contains("12 tokens, "), "{text:?}");
    leave(session);
}

#[test]
fn answers_change_as_they_are_set_and_a_line_goes_on_behind_a_backslash() {
    let dir = model(Some("{{ messages[-1].content | replace('\\n', ' ') }}"));
    let mut session = chat(&dir, "12");
    obey(&mut session, "/set max-new-tokens 7", "max-new-tokens is 7 from now on");
    obey(&mut session, "/set temperature 0.0", "temperature is 0.0 from now on");
    assert!(answer_to(&mut session, "to be ").contains("7 tokens, "));
    obey(&mut session, "/set top-p 2", "top-p 2: it must be above 0 and at most 1");
    obey(&mut session, "/set nothing 2", "/help lists the others");
    session.send_line("to be \\").unwrap();
    session.exp_string("| ").unwrap();
    assert!(answer_to(&mut session, "or not").contains("7 tokens, "));
    let said = saved(&mut session, dir.path(), "chat.json");
    assert_eq!(said[2]["content"], "to be \nor not");
    leave(session);
}

#[test]
fn lines_that_are_typed_before_their_turn_are_answered_one_after_the_other() {
    let dir = model(Some("{{ messages[-1].content }}"));
    let mut session = chat(&dir, "12");
    session.send("to be \nor not\nthe dog\n").unwrap();
    session.flush().unwrap();
    for _ in 0..3 {
        session.exp_string("12 tokens, ").unwrap();
    }
    expect_then_prompt(&mut session, " a second");
    let said = saved(&mut session, dir.path(), "chat.json");
    assert_eq!([0, 2, 4].map(|at| said[at]["content"].as_str().unwrap()), ["to be ", "or not", "the dog"]);
    leave(session);
}

#[test]
fn ctrl_c_stops_an_answer_and_not_the_program() {
    let dir = model(Some("{{ messages[-1].content }}"));
    let mut session = chat(&dir, "29000");
    session.send_line("to be ").unwrap();
    session.exp_regex("[a-z .é☺]{20}").unwrap();
    session.send_control('c').unwrap();
    expect_then_prompt(&mut session, "; stopped");
    let messages = saved(&mut session, dir.path(), "stopped.json");
    leave(session);
    let said = messages[1]["content"].as_str().unwrap().chars().count();
    assert!((1..29_000).contains(&said), "{said} characters");
}

#[test]
fn ctrl_c_at_the_prompt_clears_the_line_and_a_second_one_leaves() {
    let dir = model(None);
    let mut session = chat(&dir, "3");
    session.send("not this").unwrap();
    session.send_control('c').unwrap();
    expect_then_prompt(&mut session, "Ctrl-C again or Ctrl-D leaves");
    let text = answer_to(&mut session, "but this");
    assert!(!text.contains("not this"), "{text:?}");
    session.send_control('c').unwrap();
    expect_then_prompt(&mut session, "Ctrl-C again or Ctrl-D leaves");
    session.send_control('c').unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn the_next_chat_has_the_lines_of_this_one() {
    let dir = model(None);
    let mut session = chat(&dir, "3");
    answer_to(&mut session, "a line of before");
    leave(session);
    let mut session = chat(&dir, "3");
    let text = answer_to(&mut session, UP);
    assert!(text.contains("a line of before"), "{text:?}");
    leave(session);
    assert!(dir.path().join("state/bitnet/chat-history").is_file());
}

#[test]
fn commands_change_and_save_what_was_said() {
    let dir = model(Some("{% for message in messages %}{{ message.content + ' ' }}{% endfor %}"));
    let mut session = chat(&dir, "4");
    obey(&mut session, "/system be brief", "the model is told so from now on");
    answer_to(&mut session, "to be");
    let messages = saved(&mut session, dir.path(), "first.json");
    assert_eq!(messages[0], json!({"role": "system", "content": "be brief"}));
    assert_eq!((messages[1]["content"].as_str(), messages[2]["role"].as_str()), (Some("to be"), Some("assistant")));
    assert_eq!(messages[2]["content"].as_str().unwrap().chars().count(), 4);
    obey(&mut session, "/reset", "what was said is forgotten");
    assert_eq!(saved(&mut session, dir.path(), "second.json"), json!([{"role": "system", "content": "be brief"}]));
    obey(&mut session, "/save first.json", "error: first.json exists");
    obey(&mut session, "/sing", "error: there is no command /sing");
    obey(&mut session, "/save absent/dir.json", "error: writing absent/dir.json");
    obey(&mut session, "ÄÖ", "error: ");
    obey(&mut session, "/help", "Ctrl-C stops an answer.");
    answer_to(&mut session, "or not");
    session.send_line("/quit").unwrap();
    session.exp_eof().unwrap();
}

#[test]
fn a_model_without_a_template_says_how_to_choose_one() {
    let dir = model(None);
    let mut session = chat(&dir, "3");
    obey(&mut session, "/system be brief", "hint: choose one: --template plain");
    leave(session);
}
