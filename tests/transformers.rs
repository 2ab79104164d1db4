//! Exports in transformers itself: both folders load there without a missing or an unknown tensor, and give our logits, our greedy tokens
//! and our token ids. Needs a python with transformers, torch and accelerate; BITNET_PYTHON names it, and without it nothing is compared.

mod folders;

use bitnet::config::{Activation, ModelConfig};
use bitnet::inference::{Engine, LoadOptions};
use folders::*;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const SCRIPT: &str = "tests/transformers/load.py";
const NUM_NEW_TOKENS: usize = 16;
/// Text that every test tokenizer can take.
const TEXT: &str = "once upon a time";

fn python() -> Option<PathBuf> {
    let python = std::env::var_os("BITNET_PYTHON").filter(|python| !python.is_empty()).map(PathBuf::from);
    if python.is_none() {
        println!("skipped: BITNET_PYTHON names no python with transformers, torch and accelerate");
    }
    python
}

/// What transformers makes of each folder.
fn loaded(python: &Path, dirs: &[PathBuf]) -> Vec<Value> {
    let prompt = TOKENS.map(|token| token.to_string()).join(",");
    let output = Command::new(python)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([SCRIPT, &prompt, &NUM_NEW_TOKENS.to_string(), TEXT])
        .args(dirs)
        .env("TORCHDYNAMO_DISABLE", "1") // compiling takes longer than the models
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a code reaches that a rounding moved, over the largest logit (tests/inference_parity.rs measures it); and how many of all folders may
/// have one: in each, some thousands of codes are computed.
const REACH_OF_A_CODE: f64 = 0.1;
const MOST_WITH_A_MOVED_CODE: usize = 3;

/// Reads transformers' greedy text: how far the likeliest token is ahead of the next one of the text, at most, over the largest logit.
fn largest_gap(dir: &Path, greedy: &[u64]) -> f64 {
    let engine = Engine::load(dir, &LoadOptions { num_threads: 1, ..LoadOptions::default() }).unwrap();
    let (mut cache, mut workspace) = (engine.model.new_cache(64).unwrap(), engine.model.new_workspace(8));
    let mut unread = TOKENS.to_vec();
    let mut largest_gap = 0f64;
    for &token in greedy {
        let logits = engine.model.read(&unread, &mut cache, &mut workspace).unwrap();
        let (likeliest, largest) =
            logits.iter().fold((f32::NEG_INFINITY, 0f32), |(likeliest, largest), logit| (likeliest.max(*logit), largest.max(logit.abs())));
        largest_gap = largest_gap.max(f64::from((likeliest - logits[token as usize]) / largest));
        unread = vec![token as u32];
    }
    largest_gap
}

/// The largest difference over the largest magnitude.
fn difference(found: &Value, expected: &[f32]) -> f64 {
    let found: Vec<f64> = found.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f64, |largest, number| largest.max(f64::from(number.abs())));
    let apart = found.iter().zip(expected).map(|(found, expected)| (found - f64::from(*expected)).abs());
    apart.fold(0.0, f64::max) / largest
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

#[test]
fn exports_load_in_transformers_and_compute_what_ours_do() {
    let Some(python) = python() else { return };
    let root = tempfile::tempdir().unwrap();
    let silu = ModelConfig { hidden_act: Activation::Silu, ..config() };
    let bare_relu2 = ModelConfig { hidden_act: Activation::Relu2, tie_word_embeddings: true, ..bare() };
    let mut dirs = Vec::new();
    let mut export = |name: &str, form: &str| {
        let output = format!("{name}-{form}");
        succeeds("export", root.path(), &[name, "--to", form, "-o", &output]);
        dirs.push(root.path().join(&output));
    };
    for (name, model) in [("relu2", config()), ("silu", silu), ("bare", bare()), ("bare-relu2", bare_relu2)] {
        write_own(&root.path().join(name), &model);
        ["huggingface", "packed"].into_iter().for_each(|form| export(name, form));
    }
    write_folder(&root.path().join("llama"), &foreign_config(&bare(), "llama", json!({})), &stored(&tensors(&bare(), 1)));
    export("llama", "huggingface");
    let all = loaded(&python, &dirs);
    assert_eq!(all.len(), dirs.len());
    let mut num_apart = 0;
    for (theirs, dir) in all.iter().zip(&dirs) {
        let (name, difference) = (dir.file_name().unwrap().to_string_lossy(), difference(&theirs["logits"], &logits(dir)));
        println!("{name}: {} of transformers {}, largest difference {difference:.1e}", theirs["class"], theirs["version"]);
        assert_eq!(theirs["problems"], json!([]), "{name}");
        let greedy = numbers(&theirs["greedy"]);
        let gap = largest_gap(dir, &greedy);
        assert!(difference <= REACH_OF_A_CODE && gap <= REACH_OF_A_CODE && greedy.len() == NUM_NEW_TOKENS, "{name}: {difference} {gap}");
        num_apart += usize::from(difference > 1e-3 || gap > 1e-3);
        let engine = Engine::load(dir, &LoadOptions::default()).unwrap();
        let ids: Vec<u64> = engine.encode_prompt(TEXT).unwrap().into_iter().map(u64::from).collect();
        assert_eq!((numbers(&theirs["ids"]), theirs["text"].as_str()), (ids, Some(TEXT)), "{name}");
    }
    println!("{num_apart} of {} folders have a code that a rounding moved", dirs.len());
    assert!(num_apart <= MOST_WITH_A_MOVED_CODE, "{num_apart}");
}
