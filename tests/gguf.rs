//! From model folders to GGUF files and back into the engine: the same logits, the same text side, and clear words where neither can be.

#[path = "gguf/folder.rs"]
mod folder;

use assert_cmd::Command;
use bitnet::config::{Activation, Attention, LatentAttention, ModelConfig, NormPlacement, WeightQuantizer};
use bitnet::export::{EmbeddingType, GgufExported, GgufOptions, ProjectionType, export_gguf};
use bitnet::gguf::{File, Scaling};
use bitnet::inference::{Chunk, Engine, LoadOptions, Model, StoredModel, Wanted};
use bitnet::random::Random;
use bitnet::storage::DISK;
use folder::{config, llama, relu2, write_folder, write_rounded_folder};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn options() -> LoadOptions {
    LoadOptions { num_threads: 1, ..LoadOptions::default() }
}

fn logits(path: &Path) -> Vec<f32> {
    let model = Model::load(path, &options()).unwrap();
    let (mut cache, mut workspace) = (model.new_cache(8).unwrap(), model.new_workspace(8));
    let chunk = Chunk { cache: &mut cache, tokens: &[3, 1, 4, 1, 5, 9, 2, 6], logits: Wanted::All };
    model.forward(&mut [chunk], &mut workspace).unwrap().to_vec()
}

fn export(folder: &TempDir, options: &GgufOptions) -> bitnet::Result<(PathBuf, GgufExported)> {
    let path = folder.path().join("model.gguf");
    let exported = export_gguf(&DISK, &StoredModel::open(folder.path())?, options, &path)?;
    Ok((path, exported))
}

/// The largest difference over the largest logit.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |largest, number| largest.max(number.abs()));
    found.iter().zip(expected).fold(0f32, |worst, (found, expected)| worst.max((found - expected).abs())) / largest
}

const EXACT: GgufOptions = GgufOptions { projections: None, embedding: EmbeddingType::F32, scaling: Some(Scaling::Beside) };

#[test]
fn logits_are_those_of_the_folder_to_the_last_bit_where_scales_are_kept_in_float32() {
    let types = [None, Some(ProjectionType::Tq1_0), Some(ProjectionType::Tq2_0), Some(ProjectionType::I2S)];
    for (model, architecture, usual) in [(config(), "bitnet", "TQ2_0"), (relu2(), "bitnet-b1.58", "I2_S"), (llama(), "llama", "TQ2_0")] {
        let folder = write_folder(&model, 1);
        let expected = logits(folder.path());
        for projections in types {
            let (path, exported) = export(&folder, &GgufOptions { projections, ..EXACT }).unwrap();
            assert_eq!(exported.architecture, architecture);
            assert_eq!(exported.projections, projections.map_or(usual, ProjectionType::name));
            assert_eq!(exported.num_bytes, fs::metadata(&path).unwrap().len());
            assert_eq!(logits(&path), expected, "{architecture} {projections:?}");
        }
    }
}

#[test]
fn embeddings_lose_what_their_type_rounds_and_nothing_else() {
    for model in [config(), llama()] {
        let folder = write_folder(&model, 2);
        let half: fn(f32) -> f32 = |number| half::f16::from_f32(number).to_f32();
        let bfloat: fn(f32) -> f32 = |number| half::bf16::from_f32(number).to_f32();
        for (embedding, round) in [(EmbeddingType::F16, half), (EmbeddingType::Bf16, bfloat)] {
            let (path, _) = export(&folder, &GgufOptions { embedding, ..EXACT }).unwrap();
            let found = difference(&logits(&path), &logits(write_rounded_folder(&model, 2, round).path()));
            assert!(found < 1e-6, "{embedding:?}: {found}");
        }
    }
}

#[test]
fn logits_are_near_those_of_the_folder_where_scales_or_embeddings_are_rounded() {
    // Random weights make much of a code of an activation that falls to the other side.
    for model in [config(), llama()] {
        let folder = write_folder(&model, 2);
        let expected = logits(folder.path());
        let rounded = GgufOptions { scaling: Some(Scaling::InBlocks), ..EXACT };
        for options in [rounded, GgufOptions::default(), GgufOptions { embedding: EmbeddingType::Q8_0, ..EXACT }] {
            let found = difference(&logits(&export(&folder, &options).unwrap().0), &expected);
            assert!(found > 0.0 && found < 0.15, "{options:?}: {found}");
        }
    }
}

#[test]
fn a_model_of_full_precision_is_a_llama_file_in_half_precision() {
    let mut model = llama();
    model.bit_linear.weights = WeightQuantizer::None;
    model.bit_linear.activations = bitnet::config::ActivationQuantizer::None;
    let folder = write_folder(&model, 3);
    let (path, exported) = export(&folder, &GgufOptions::default()).unwrap();
    assert_eq!((exported.architecture, exported.projections), ("llama", "F16"));
    let found = difference(&logits(&path), &logits(folder.path()));
    assert!(found > 0.0 && found < 1e-2, "{found}");
    let message = export(&folder, &GgufOptions { projections: Some(ProjectionType::Tq2_0), ..EXACT }).unwrap_err().to_string();
    assert!(message.contains("its weights are not quantized"), "{message}");
}

#[test]
fn the_text_side_comes_along() {
    let folder = write_folder(&config(), 4);
    fs::write(folder.path().join("chat_template.jinja"), "{% for message in messages %}{{ message.content }}{% endfor %}").unwrap();
    fs::write(folder.path().join("generation_config.json"), r#"{"eos_token_id": [2, 5]}"#).unwrap();
    let (path, exported) = export(&folder, &GgufOptions::default()).unwrap();
    assert_eq!(exported.warnings, [""; 0]);
    let expected = Engine::load(folder.path(), &options()).unwrap();
    let text = "the cat's hat, 1234\n";
    let check = |engine: &Engine| {
        assert_eq!(engine.encode_prompt(text).unwrap(), expected.encode_prompt(text).unwrap());
        assert_eq!(engine.endings, expected.endings);
        assert_eq!(
            engine.template.as_ref().map(|template| template.source()),
            expected.template.as_ref().map(|template| template.source())
        );
        assert!(engine.template.is_some() && engine.endings.starts_with(&[2, 5]));
    };
    let found = Engine::load(&path, &options()).unwrap();
    assert_eq!(found.tokenizer, expected.tokenizer);
    check(&found);
    // Without our tokenizer.json the tokenizer is made of llama.cpp's keys.
    patch(&path, b"tokenizer.huggingface.json", b"tokenizer.huggingface.jsox");
    let found = Engine::load(&path, &options()).unwrap();
    assert!(found.tokenizer != expected.tokenizer);
    check(&found);
}

/// Replaces the first `from` in a file by as many bytes.
fn patch(path: &Path, from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    fs::write(path, bytes).unwrap();
}

#[track_caller]
fn refusal_to_export(model: &ModelConfig, options: &GgufOptions) -> String {
    let error = export(&write_folder(model, 5), options).unwrap_err();
    assert_eq!(error.exit_status(), 2, "{error}");
    assert!(error.hint_text().is_some(), "{error}");
    error.to_string()
}

#[test]
fn models_that_no_architecture_is_are_refused() {
    let options = GgufOptions::default();
    let sizes = LatentAttention { q_lora_rank: None, kv_lora_rank: 128, qk_nope_head_dim: 64, qk_rope_head_dim: 64, v_head_dim: 64 };
    let latent = ModelConfig { attention: Attention::Latent(sizes), num_key_value_heads: 4, ..config() };
    assert!(refusal_to_export(&latent, &options).contains("latent attention"));
    let mut inside = config();
    inside.bit_linear.norm = NormPlacement::Inside;
    assert!(refusal_to_export(&inside, &options).contains("a norm in every projection"));
    let untied = ModelConfig { tie_word_embeddings: false, ..config() };
    assert!(refusal_to_export(&untied, &options).contains("a head beside the embedding"));
    let bare = ModelConfig { hidden_act: Activation::Relu2, ..llama() };
    assert!(refusal_to_export(&bare, &options).contains("relu2 without sub-norms"));
    let mut full = config();
    full.bit_linear.weights = WeightQuantizer::None;
    assert!(refusal_to_export(&full, &options).contains("full-precision weights"));
}

#[test]
fn rows_that_are_no_whole_blocks_are_refused_by_name_and_size() {
    let narrow = ModelConfig { intermediate_size: 384, ..config() };
    let message = refusal_to_export(&narrow, &GgufOptions { projections: Some(ProjectionType::Tq2_0), ..GgufOptions::default() });
    assert!(
        message.contains("model.layers.0.mlp.down_proj.weight has rows of 384 numbers, which are no multiple of the 256 of TQ2_0"),
        "{message}"
    );
    assert!(message.contains("i2_s"), "{message}");
    let folder = write_folder(&narrow, 6);
    let (path, exported) = export(&folder, &GgufOptions { projections: Some(ProjectionType::I2S), ..EXACT }).unwrap();
    assert!(
        exported.warnings.iter().any(|warning| warning.contains("stock llama.cpp and the package gguf do not read I2_S")),
        "{:?}",
        exported.warnings
    );
    assert_eq!(logits(&path), logits(folder.path()));
    let narrower = ModelConfig { intermediate_size: 200, ..relu2() };
    assert!(refusal_to_export(&narrower, &GgufOptions::default()).contains("no multiple of the 128 of I2_S"));
    let odd = ModelConfig { hidden_size: 264, intermediate_size: 256, ..llama() };
    assert!(
        refusal_to_export(&odd, &GgufOptions { embedding: EmbeddingType::Q8_0, ..EXACT })
            .contains("model.embed_tokens.weight has rows of 264")
    );
}

#[test]
fn what_stock_llama_cpp_does_not_run_is_said() {
    let (_, exported) = export(&write_folder(&relu2(), 7), &GgufOptions::default()).unwrap();
    assert_eq!(exported.warnings[0], "stock llama.cpp does not run models with relu2; bitnet.cpp does");
    assert!(exported.warnings[1].contains("the package gguf, read --type tq2_0"), "{:?}", exported.warnings);
}

#[test]
fn the_type_of_a_model_is_one_that_stock_tools_read_where_its_sizes_allow_it() {
    let (_, exported) = export(&write_folder(&llama(), 7), &GgufOptions::default()).unwrap();
    assert_eq!((exported.projections, exported.warnings.len()), ("TQ2_0", 0));
    let narrow = ModelConfig { intermediate_size: 384, ..llama() };
    let (_, exported) = export(&write_folder(&narrow, 7), &GgufOptions::default()).unwrap();
    assert_eq!(exported.projections, "I2_S");
    assert!(exported.warnings.iter().any(|warning| warning.contains("takes sizes that are multiples of 256")), "{:?}", exported.warnings);
}

#[test]
fn an_export_that_fails_leaves_what_was_there() {
    let folder = write_folder(&ModelConfig { intermediate_size: 200, ..config() }, 8);
    let path = folder.path().join("model.gguf");
    fs::write(&path, "old").unwrap();
    assert!(export(&folder, &GgufOptions::default()).is_err());
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert!(fs::read_dir(folder.path()).unwrap().all(|entry| !entry.unwrap().file_name().to_string_lossy().starts_with(".tmp")));
}

#[test]
fn files_of_other_models_are_refused_by_key() {
    let refused = |from: &[u8], to: &[u8]| {
        let folder = write_folder(&config(), 9);
        let (path, _) = export(&folder, &GgufOptions::default()).unwrap();
        patch(&path, from, to);
        let error = Engine::load(&path, &options()).unwrap_err();
        assert_eq!(error.exit_status(), 2, "{error}");
        assert!(error.to_string().contains("model.gguf"), "{error}");
        error.to_string()
    };
    assert!(refused(b"\x06\0\0\0\0\0\0\0bitnet", b"\x06\0\0\0\0\0\0\0falcon").contains("`general.architecture` is \"falcon\""));
    assert!(refused(b"bitnet.block_count", b"bitnet.block_counx").contains("the key `bitnet.block_count` is missing"));
    assert!(refused(b"attn_sub_norm", b"attn_sub_norx").contains("tensor model.layers.0.self_attn.attn_sub_norm.weight is missing"));
    assert!(refused(b"blk.1.attn_q.scale", b"blk.1.attn_q.scalx").contains("tensor blk.1.attn_q.scalx has no place"));
    assert!(
        refused(b"bitnet.rope.dimension_count\x04\0\0\0\x40", b"bitnet.rope.dimension_count\x04\0\0\0\x20")
            .contains("is 32: heads have to be")
    );
    assert!(refused(b"bitnet.feed_forward_length\x04\0\0\0\0\x02", b"bitnet.feed_forward_length\x04\0\0\0\0\x01").contains("has shape"));
    assert!(refused(b"bitnet.attention.head_count\x04\0\0\0\x04", b"bitnet.attention.head_count\x04\0\0\0\x03").contains("hidden_size"));
    assert!(refused(b"int8_absmax", b"int7_absmax").contains("int7_absmax"));
}

#[test]
fn a_scale_that_is_none_and_values_that_are_no_codes_are_refused() {
    let folder = write_folder(&config(), 10);
    let (path, _) = export(&folder, &GgufOptions::default()).unwrap();
    let good = fs::read(&path).unwrap();
    let place = |name: &str| {
        let file = File::parse("x", &good[..]).unwrap();
        file.tensor(name).unwrap().bytes.as_ptr() as usize - good.as_ptr() as usize
    };
    let (scale, matrix) = (place("blk.1.ffn_up.scale"), place("blk.1.ffn_up.weight"));
    let refused = |at: usize, with: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        fs::write(&path, bytes).unwrap();
        Model::load(&path, &options()).unwrap_err().to_string()
    };
    for number in [f32::NAN, 0.0, -1.0, f32::INFINITY] {
        let message = refused(scale, &number.to_le_bytes());
        let says = if number.is_finite() { "which is no scale" } else { "at position 0" };
        assert!(message.contains("blk.1.ffn_up.scale") && message.contains(says) && message.contains("hint: "), "{message}");
    }
    let message = refused(matrix + 3, &[0xff]);
    assert!(message.contains("blk.1.ffn_up.weight") && message.contains("no ternary code"), "{message}");
    let message = refused(matrix + 64, &[0x00, 0x40]);
    assert!(message.contains("blocks 0 and 1 have the scales 2 and 1"), "{message}");
}

#[test]
fn random_damage_never_panics() {
    let folder = write_folder(&config(), 11);
    let (path, _) = export(&folder, &GgufOptions::default()).unwrap();
    let (good, mut random, mut num_refused) = (fs::read(&path).unwrap(), Random::derive(1, "damage", 0), 0);
    for _ in 0..300 {
        let mut bytes = good.clone();
        let reach = if random.below(4) == 0 { bytes.len() as u64 } else { 12_000 };
        for _ in 0..1 + random.below(4) {
            bytes[random.below(reach) as usize] = random.next_u64() as u8;
        }
        bytes.truncate(if random.below(16) == 0 { random.below(reach) as usize } else { bytes.len() });
        fs::write(&path, &bytes).unwrap();
        match Engine::load(&path, &options()) {
            Err(error) => num_refused += usize::from(!error.to_string().is_empty()),
            Ok(engine) => {
                let (mut cache, mut workspace) = (engine.model.new_cache(4).unwrap(), engine.model.new_workspace(4));
                let _ = engine.model.forward(&mut [Chunk { cache: &mut cache, tokens: &[0, 1], logits: Wanted::All }], &mut workspace);
            }
        }
    }
    assert!(num_refused > 50, "{num_refused}");
}

#[test]
fn a_file_is_exported_inspected_and_continued_on_the_command_line() {
    let folder = write_folder(&config(), 12);
    let path = folder.path().join("out/model.gguf");
    let export = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_export"));
        command.arg(folder.path()).args(["--to", "gguf", "-o"]).arg(folder.path().join("out")).args(arguments);
        command
    };
    let output = export(&["--embedding", "f32"]).assert().success().get_output().clone();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), path.display().to_string());
    assert!(String::from_utf8(output.stderr).unwrap().contains("projections in TQ2_0, architecture bitnet"));
    assert_eq!(logits(&path), logits(folder.path()));
    let refused = export(&[]).assert().code(2).get_output().stderr.clone();
    assert!(String::from_utf8(refused).unwrap().contains("is there already"));
    export(&["--force", "--type", "tq1_0", "--embedding", "f32"]).assert().success();
    let said = |model: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_generate"));
        command.args(["--prompt", "the cat", "--max-new-tokens", "8", "--model"]).arg(model);
        command.assert().success().get_output().stdout.clone()
    };
    assert_eq!(said(&path), said(folder.path()));
    let output = Command::new(env!("CARGO_BIN_EXE_inspect")).arg(&path).arg("--json").assert().success().get_output().stdout.clone();
    let inspection: serde_json::Value = serde_json::from_slice(&output).unwrap();
    assert!(inspection["tensors"].as_array().unwrap().iter().any(|tensor| tensor["type"] == "TQ1_0" && tensor["scale"].is_number()));
}
