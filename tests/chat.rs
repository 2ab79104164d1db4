//! `chat` and `evaluate` on a run that was trained a little: what they print, and what they refuse.
#![cfg(all(unix, feature = "torch"))]

mod tiny;

use assert_cmd::Command;
use bitnet::model::LoadedModel;
use serde_json::Value;
use tch::{Device, Tensor, no_grad};
use tiny::{Runs, finish};

fn trained() -> Runs {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "6"]), 0);
    runs
}

fn program(name: &str, runs: &Runs, arguments: &[&str]) -> Command {
    let path = if name == "chat" { env!("CARGO_BIN_EXE_chat") } else { env!("CARGO_BIN_EXE_evaluate") };
    let mut command = Command::new(path);
    command.args(arguments).arg("--runs-dir").arg(runs.path()).env("OMP_NUM_THREADS", "1").current_dir(runs.path());
    command
}

fn chat(runs: &Runs, arguments: &[&str], prompts: &str) -> String {
    let output = program("chat", runs, arguments).write_stdin(prompts).assert().success().get_output().stdout.clone();
    String::from_utf8(output).unwrap()
}

/// What the likeliest tokens spell, one forward pass a token, to the end of the line or 32 tokens.
fn likeliest_completion(runs: &Runs, prompt: &str) -> String {
    let checkpoint = tiny::checkpoints(&runs.run("mine")).pop().unwrap();
    let precision = runs.run("mine").read_config().unwrap().precision;
    let LoadedModel { decoder, tokenizer, endings, config } = LoadedModel::load(&checkpoint, Device::Cpu, precision).unwrap();
    let mut ids: Vec<i64> = tokenizer.encode(prompt).unwrap().into_iter().map(i64::from).collect();
    let length = ids.len();
    while ids.len() < length + 32 {
        let window = Tensor::from_slice(&ids[ids.len().saturating_sub(config.max_position_embeddings)..]);
        let logits = no_grad(|| decoder.forward(&window.unsqueeze(0)));
        let next = logits.select(1, -1).argmax(-1, false).int64_value(&[0]);
        if endings.contains(&(next as u32)) {
            break;
        }
        ids.push(next);
    }
    tokenizer.decode(&ids[length..].iter().map(|&id| id as u32).collect::<Vec<_>>())
}

#[test]
fn every_prompt_is_continued_on_a_line_of_its_own() {
    let runs = trained();
    let said = chat(&runs, &["mine"], "2 + 3 =\n7 - 5 =\n");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert_eq!(lines, ["2 + 3 =", "7 - 5 ="].map(|prompt| format!("{prompt}{}", likeliest_completion(&runs, prompt))));
    assert!(lines.iter().any(|line| line.len() > "2 + 3 =".len()), "nothing was said: {said}");
}

#[test]
fn the_run_may_be_named_by_a_prefix_a_path_a_checkpoint_or_not_at_all() {
    let runs = trained();
    let expected = chat(&runs, &["mine"], "2 + 3 =\n");
    let run = runs.run("mine");
    let checkpoint = tiny::checkpoints(&run).pop().unwrap();
    for name in ["mi", run.path().to_str().unwrap(), checkpoint.to_str().unwrap()] {
        assert_eq!(chat(&runs, &[name], "2 + 3 =\n"), expected, "{name}");
    }
    assert_eq!(chat(&runs, &[], "2 + 3 =\n"), expected);
}

#[test]
fn a_seed_repeats_what_chance_chose_and_another_seed_does_not() {
    let runs = trained();
    let flags = |seed| ["mine", "--temperature", "3", "--top-k", "30", "--top-p", "0.99", "--max-new-tokens", "20", "--seed", seed];
    let said = |seed| chat(&runs, &flags(seed), "2 + 3 =\n");
    assert_eq!(said("1"), said("1"));
    assert_ne!(said("1"), said("2"));
}

#[test]
fn max_new_tokens_bounds_the_answer() {
    let runs = trained();
    let said = |most: &str| chat(&runs, &["mine", "--max-new-tokens", most], "2 + 3 =\n").trim_end_matches('\n').to_string();
    let (all, two) = (said("32"), said("2"));
    assert!(all.len() > "2 + 3 =".len() + 2, "too little was said to be cut: {all:?}");
    assert_eq!(two, all[.."2 + 3 =".len() + 2]);
}

#[test]
fn a_character_outside_the_alphabet_is_named_with_its_place() {
    let runs = trained();
    let output = program("chat", &runs, &["mine"]).write_stdin("2 + x =\n").assert().code(2).get_output().stderr.clone();
    let message = String::from_utf8(output).unwrap();
    assert!(message.contains("'x'") && message.contains('4') && message.contains("hint: "), "{message}");
}

#[test]
fn options_that_no_choice_can_be_made_with_are_refused() {
    let runs = trained();
    for (flag, value) in [("--temperature", "nan"), ("--temperature=-1", ""), ("--top-p", "0"), ("--top-p", "1.5")] {
        let arguments: Vec<&str> = ["mine", flag, value].into_iter().filter(|word| !word.is_empty()).collect();
        program("chat", &runs, &arguments).write_stdin("2 + 3 =\n").assert().code(2);
    }
}

#[test]
fn evaluate_prints_a_table_and_the_same_numbers_as_json() {
    let runs = trained();
    let json = program("evaluate", &runs, &["mine", "--json", "--problems", "5"]).assert().success().get_output().stdout.clone();
    let report: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&report["run"], &report["step"], &report["problems"]), (&"mine".into(), &6.into(), &20.into()));
    let metrics = report["metrics"].as_object().unwrap();
    let names: Vec<&String> = metrics.keys().collect();
    for name in ["loss", "exact_match", "exact_match/add", "exact_match/subtract", "exact_match/multiply", "exact_match/divide"] {
        assert!(metrics.contains_key(name), "{name} in {names:?}");
    }
    let text = program("evaluate", &runs, &["mine", "--problems", "5"]).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(text).unwrap();
    let loss = format!("{:.3}", metrics["loss"].as_f64().unwrap());
    assert!(text.contains(&loss) && text.contains("subtract"), "{text}");
    assert!(text.contains(&format!("{:.3}", report["entropy_floor_of_all_tokens"].as_f64().unwrap())), "{text}");
}

#[test]
fn a_run_without_a_checkpoint_is_an_error_with_a_hint() {
    let runs = trained();
    std::fs::remove_dir_all(runs.run("mine").checkpoints_dir()).unwrap();
    for name in ["chat", "evaluate"] {
        let output = program(name, &runs, &["mine"]).assert().code(2).get_output().stderr.clone();
        let message = String::from_utf8(output).unwrap();
        assert!(message.contains("no whole checkpoint yet") && message.contains("hint: "), "{name}: {message}");
    }
}
