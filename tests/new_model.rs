//! A blank model folder: what it holds, that it loads and trains can start from it, and that it is whole or absent. Shapes of a wanted size are
//! claims of `config`.
#![cfg(feature = "torch")]

use assert_cmd::Command;
use bitnet::config::{ModelConfig, Precision, TokenIds};
use bitnet::libtorch::load_tensors;
use bitnet::model::{BlankModel, InitialWeights, load_decoder};
use bitnet::storage::{DISK, content_hash};
use std::fs;
use std::path::Path;
use tch::{Device, Kind, Tensor, no_grad};

/// About four million parameters.
fn small() -> ModelConfig {
    ModelConfig::of_size(3_900_000, 512).unwrap()
}

fn write(config: &ModelConfig, dir: &Path, seed: u64) {
    let tokens = TokenIds { bos: Some(1), eos: Some(2) };
    BlankModel { config, tokenizer: Some(b"{}"), tokens, seed }.write(&DISK, dir).unwrap();
}

#[test]
fn a_blank_folder_is_a_model_of_the_wanted_size_with_fresh_weights() {
    let (dir, config) = (tempfile::tempdir().unwrap(), small());
    let folder = dir.path().join("blank");
    write(&config, &folder, 1);
    assert!((config.num_parameters() as f64 / 3.9e6 - 1.0).abs() < 0.05);
    let (loaded, decoder) = load_decoder(&folder, Device::Cpu, Precision::Float32).unwrap();
    assert_eq!(loaded, config);
    let weights = load_tensors(&folder.join("model.safetensors")).unwrap();
    assert_eq!(weights.values().map(Tensor::numel).sum::<usize>(), config.num_parameters());
    for (name, weight) in &weights {
        let (mean, deviation) = (weight.mean(Kind::Double).double_value(&[]), weight.std(true).double_value(&[]));
        match weight.dim() {
            1 => assert_eq!((mean, deviation), (1.0, 0.0), "{name}"),
            _ => assert!(mean.abs() < 1e-3 && (deviation / 0.02 - 1.0).abs() < 0.03, "{name}: {mean}, {deviation}"),
        }
    }
    let ids = Tensor::arange(12, (Kind::Int64, Device::Cpu)).view([1, 12]);
    let logits = no_grad(|| decoder.forward(&ids));
    let loss = logits.view([12, -1]).cross_entropy_for_logits(&((&ids + 1).view([12]))).double_value(&[]);
    assert!((loss / 512f64.ln() - 1.0).abs() < 0.05, "{loss}: not that of guessing");
    assert!(InitialWeights::load(&folder, &config).is_ok(), "a run can start from it");
    assert_eq!(fs::read(folder.join("tokenizer.json")).unwrap(), b"{}");
    let generation: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("generation_config.json")).unwrap()).unwrap();
    assert_eq!((generation["bos_token_id"].as_u64(), generation["eos_token_id"].as_u64()), (Some(1), Some(2)));
}

#[test]
fn a_seed_repeats_its_weights_and_another_makes_others() {
    let (dir, config) = (tempfile::tempdir().unwrap(), small());
    let hash = |name: &str, seed| {
        write(&config, &dir.path().join(name), seed);
        content_hash(&fs::read(dir.path().join(name).join("model.safetensors")).unwrap())
    };
    let first = hash("first", 7);
    assert_eq!(first, hash("again", 7));
    assert_ne!(first, hash("other", 8));
}

#[test]
fn what_is_there_is_never_overwritten_and_nothing_half_written_stays() {
    let (dir, config) = (tempfile::tempdir().unwrap(), small());
    let folder = dir.path().join("blank");
    fs::create_dir(&folder).unwrap();
    let blank = BlankModel { config: &config, tokenizer: None, tokens: TokenIds::default(), seed: 1 };
    let error = blank.write(&DISK, &folder).unwrap_err();
    assert!(error.exit_status() == 2 && error.to_string().contains("is there already"), "{error}");
    let huge = ModelConfig { num_hidden_layers: 1 << 40, ..config.clone() };
    let error = BlankModel { config: &huge, ..blank }.write(&DISK, &dir.path().join("huge")).unwrap_err();
    assert!(error.exit_status() == 2 && error.to_string().contains("bytes free"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

fn program(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_new-model")).args(arguments).output().unwrap()
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_dry_run_says_shape_and_size_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("blank");
    for (size, said) in [("750M", "M parameters: "), ("70B", "B parameters: ")] {
        let output = program(&["--params", size, "--dry-run", "-o", folder.to_str().unwrap()]);
        assert!(output.status.success() && stderr(&output).contains(said) && stderr(&output).contains(" GB"), "{}", stderr(&output));
    }
    let small = program(&["--params", "5M", "--dry-run", "-o", folder.to_str().unwrap()]);
    assert!(small.status.success() && stderr(&small).contains("M parameters: ") && stderr(&small).contains(" MB"), "{}", stderr(&small));
    assert!(!folder.exists());
}

#[test]
fn sizes_out_of_range_and_no_size_without_a_terminal_are_the_users_errors() {
    for (arguments, part) in [
        (&["--params", "900K"][..], "750M or 1.3B"),
        (&["--params", "0.9M"], "1M to 70B"),
        (&["--params", "71B"], "1M to 70B"),
        (&["--params", "many"], "750M or 1.3B"),
        (&[], "no size is given\nhint: --params 750M"),
    ] {
        let output = program(arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    }
}

#[test]
fn a_tokenizer_decides_the_vocabulary_and_the_ends_of_a_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    fs::write(&path, r#"{"added_tokens": [{"id": 200, "content": "</s>"}], "model": {"vocab": {"<s>": 0, "a": 7}}}"#).unwrap();
    let tokenizer = path.to_str().unwrap();
    let output = program(&["--params", "300M", "--dry-run", "--tokenizer", tokenizer]);
    assert!(stderr(&output).contains("vocabulary 256"), "{}", stderr(&output));
    let output = program(&["--params", "300M", "--dry-run", "--tokenizer", tokenizer, "--vocab-size", "100"]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("the tokenizer has 201 tokens"), "{}", stderr(&output));
    fs::write(&path, "no json").unwrap();
    let output = program(&["--params", "300M", "--dry-run", "--tokenizer", tokenizer]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("tokenizer.json: this is no JSON"), "{}", stderr(&output));
}
