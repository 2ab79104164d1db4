//! `import` as a process: every public layout becomes a folder of ours that computes the same, and what cannot be is one clear error.

mod folders;

use bitnet::config::{Activation, ModelConfig};
use bitnet::ternary::weights::ternary_absmean;
use folders::*;
use safetensors::Dtype;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Imports the folder `source` below `root`: the new folder, and what was said on stderr.
#[track_caller]
fn import(root: &Path, source: &str, more: &[&str]) -> (PathBuf, String) {
    let (stdout, stderr) = succeeds("import", root, &[&[source], more].concat());
    (root.join(stdout.trim_end()), stderr)
}

/// 1bitLLM's names for the sub-norms.
fn renamed(tensors: BTreeMap<String, Stored>) -> BTreeMap<String, Stored> {
    let published = |name: String| name.replace(".attn_sub_norm.", ".inner_attn_ln.").replace(".ffn_sub_norm.", ".ffn_layernorm.");
    let mut renamed: BTreeMap<String, Stored> = tensors.into_iter().map(|(name, tensor)| (published(name), tensor)).collect();
    renamed.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), as_f32(&(vec![6], vec![1.0; 6])));
    renamed
}

struct Case {
    name: &'static str,
    config: Value,
    tensors: BTreeMap<String, Stored>,
    found: &'static str,
    training: &'static str,
}

fn cases() -> Vec<Case> {
    const GOES_ON: &str = "training can go on from its latent weights";
    const GONE: &str = "its latent weights are gone";
    let (model, silu) = (config(), ModelConfig { hidden_act: Activation::Silu, ..config() });
    let online = json!({"quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}});
    let case = |name, config, tensors, found, training| Case { name, config, tensors, found, training };
    let (latent, plain) = (tensors(&model, 1), tensors(&bare(), 2));
    vec![
        case("ours", own_config(&model), stored(&latent), "a folder of this program", GOES_ON),
        case("master", foreign_config(&model, "bitnet", online.clone()), stored(&latent), "microsoft's master layout", GOES_ON),
        case(
            "packed",
            foreign_config(&model, "bitnet", offline(Some("autobitlinear"))),
            packed(&latent, |scale| scale),
            "microsoft's packed layout",
            GONE,
        ),
        case(
            "one-bit",
            foreign_config(&silu, "llama", json!({"weight_bits": 1, "input_bits": 8})),
            renamed(stored(&latent)),
            "1bitLLM's layout",
            GOES_ON,
        ),
        case(
            "falcon",
            foreign_config(&bare(), "llama", offline(None)),
            packed(&plain, |scale| 1.0 / scale),
            "HF1BitLLM and Falcon-E",
            GONE,
        ),
        case("online-llama", foreign_config(&bare(), "llama", online), stored(&plain), "LLaMA's layout with latent weights", GOES_ON),
        case("llama", foreign_config(&bare(), "llama", json!({})), stored(&plain), "LLaMA in full precision", "makes it ternary"),
    ]
}

#[test]
fn every_public_layout_computes_to_the_bit_what_it_did_and_says_what_it_was() {
    let root = tempfile::tempdir().unwrap();
    for Case { name, config, tensors, found, training } in cases() {
        let source = write_folder(&root.path().join(name), &config, &tensors);
        let (imported, stderr) = import(root.path(), name, &[]);
        assert_eq!(imported, root.path().join("models").join(name));
        assert!(logits(&imported) == logits(&source), "{name}");
        assert!(stderr.contains(&format!("found: {found}")) || stderr.contains(found), "{name}: {stderr}");
        assert!(stderr.contains("training: ") && stderr.contains(training) && !stderr.contains("warning"), "{name}: {stderr}");
        let names: Vec<String> = read_tensors(&imported).into_keys().collect();
        assert!(names.iter().all(|name| !name.contains("inner_attn_ln") && !name.contains("inv_freq")), "{names:?}");
        assert!(read_json(&imported.join("config.json"))["bitnet"].is_object());
    }
}

#[test]
fn what_was_imported_is_taken_by_every_other_command() {
    let root = tempfile::tempdir().unwrap();
    for Case { name, config, tensors, .. } in cases().into_iter().take(3) {
        write_folder(&root.path().join(name), &config, &tensors);
        let (imported, _) = import(root.path(), name, &[]);
        let (text, _) = succeeds("generate", root.path(), &["--model", argument(&imported), "--prompt", "once", "--max-new-tokens", "3"]);
        assert!(text.starts_with("once"), "{text}");
        let (table, _) = succeeds("inspect", root.path(), &[argument(&imported)]);
        assert!(table.contains("model.layers.1.self_attn.q_proj"), "{table}");
        let exported = format!("out-{name}");
        succeeds("export", root.path(), &[argument(&imported), "--to", "packed", "-o", &exported]);
        let (again, stderr) = import(root.path(), &exported, &[]);
        assert!(logits(&again) == logits(&imported) && stderr.contains("a folder of this program"), "{stderr}");
    }
}

#[test]
fn half_precision_and_shards_become_one_file_that_the_trainer_reads() {
    let root = tempfile::tempdir().unwrap();
    let halves = |tensors: &Tensors| -> BTreeMap<String, Stored> {
        // The upper halves of float32 numbers are bfloat16; 1.5 is 0x3e00 in half precision.
        let narrow = |(index, (name, (shape, numbers))): (usize, (&String, &Tensor))| {
            let (dtype, bytes): (Dtype, Vec<u8>) = match shape.len() {
                1 => (Dtype::F16, [0x00, 0x3e].repeat(numbers.len())),
                _ if index % 2 == 0 => (Dtype::BF16, numbers.iter().flat_map(|number| number.to_le_bytes()[2..].to_vec()).collect()),
                _ => (Dtype::F32, numbers.iter().flat_map(|number| number.to_le_bytes()).collect()),
            };
            (name.clone(), (dtype, shape.clone(), bytes))
        };
        tensors.iter().enumerate().map(narrow).collect()
    };
    let source = write_folder(&root.path().join("sharded"), &own_config(&config()), &BTreeMap::new());
    fs::remove_file(source.join("model.safetensors")).unwrap();
    let (mut shards, mut weight_map) = ([BTreeMap::new(), BTreeMap::new()], BTreeMap::new());
    for (index, (name, tensor)) in halves(&tensors(&config(), 1)).into_iter().enumerate() {
        weight_map.insert(name.clone(), format!("model-0000{}-of-00002.safetensors", index % 2 + 1));
        shards[index % 2].insert(name, tensor);
    }
    for (index, shard) in shards.iter().enumerate() {
        write_tensors(&source.join(format!("model-0000{}-of-00002.safetensors", index + 1)), shard);
    }
    fs::write(source.join("model.safetensors.index.json"), json!({"weight_map": weight_map}).to_string()).unwrap();
    let (imported, _) = import(root.path(), "sharded", &["-o", "whole"]);
    assert!(logits(&imported) == logits(&source));
    let tensors = read_tensors(&imported);
    assert!(tensors.values().all(|(dtype, ..)| matches!(dtype, Dtype::F32 | Dtype::BF16)), "half precision is not read by the trainer");
    assert_eq!(tensors["model.norm.weight"], as_f32(&(vec![48], vec![1.5; 48])));
}

#[test]
fn a_gguf_file_becomes_a_folder_that_computes_the_same() {
    let root = tempfile::tempdir().unwrap();
    // Ternary blocks have 256 weights.
    let wide = ModelConfig { hidden_size: 256, intermediate_size: 512, ..config() };
    let source = write_own(&root.path().join("mine"), &wide);
    fs::write(source.join("chat_template.jinja"), "{{ messages[0].content }}").unwrap();
    succeeds("export", root.path(), &["mine", "--to", "gguf", "-o", "mine.gguf"]);
    let (imported, stderr) = import(root.path(), "mine.gguf", &[]);
    assert_eq!(imported, root.path().join("models/mine"));
    assert!(stderr.contains("found: a GGUF file") && stderr.contains("its latent weights are gone"), "{stderr}");
    assert!(logits(&imported) == logits(&root.path().join("mine.gguf")));
    assert_eq!(fs::read_to_string(imported.join("chat_template.jinja")).unwrap(), "{{ messages[0].content }}");
    assert_eq!(fs::read(imported.join("tokenizer.json")).unwrap(), fs::read(source.join("tokenizer.json")).unwrap());
    let endings = &read_json(&imported.join("generation_config.json"))["eos_token_id"];
    assert!(endings == 2 || *endings == json!([2]), "{endings}");
    let report = |name: &str| -> Value { serde_json::from_str(&succeeds("inspect", root.path(), &[name, "--json"]).0).unwrap() };
    let (latent, file) = (report("mine"), report("mine.gguf"));
    assert_eq!((&latent["codes"], &file["is_packed"]), (&file["codes"], &json!(true)));
    assert_eq!(
        refusal("export", root.path(), &["mine.gguf", "--to", "huggingface", "-o", "out"]).matches("latent weights are gone").count(),
        1
    );
}

#[test]
fn the_golden_folders_keep_their_logits() {
    let shared = std::env::var_os("BITNET_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let golden = shared.join("golden");
    if !golden.is_dir() {
        return println!("skipped: {} is not there", golden.display());
    }
    let root = tempfile::tempdir().unwrap();
    for (name, found) in [
        ("microsoft-master-f32", "microsoft's master layout"),
        ("microsoft-packed-f32", "microsoft's packed layout"),
        ("microsoft-packed-bf16", "microsoft's packed layout"),
        ("onebitllm-f32", "1bitLLM's layout"),
    ] {
        let source = golden.join(name);
        let (imported, stderr) = import(root.path(), argument(&source), &[]);
        assert!(stderr.contains(found) && stderr.contains("warning: there is no tokenizer.json"), "{stderr}");
        assert!(logits(&imported) == logits(&source), "{name}");
    }
}

#[test]
fn a_tokenizer_can_be_given_and_the_place_is_respected() {
    let root = tempfile::tempdir().unwrap();
    let source = write_own(&root.path().join("mine"), &config());
    fs::rename(source.join("tokenizer.json"), root.path().join("other.json")).unwrap();
    let (imported, stderr) = import(root.path(), "mine", &["--tokenizer", "other.json", "-o", "models/new"]);
    assert!(imported.join("tokenizer.json").is_file() && imported.join("tokenizer_config.json").is_file() && !stderr.contains("warning"));
    let refused = |more: &[&str]| refusal("import", root.path(), &[&["mine"], more].concat());
    assert!(refused(&["-o", "models/new"]).contains("models/new is there already"));
    assert!(refused(&["-o", "mine", "--force"]).contains("holds the model that is exported"));
    assert!(refused(&["--tokenizer", "nowhere.json"]).contains("nowhere.json"));
    import(root.path(), "mine", &["-o", "models/new", "--force"]);
}

#[test]
fn weights_that_are_quantized_already_are_not_quantized_again() {
    let root = tempfile::tempdir().unwrap();
    let mut dequantized = tensors(&config(), 1);
    let numbers = &mut dequantized.get_mut(Q_PROJ).unwrap().1;
    *numbers = ternary_absmean(numbers).unwrap().values();
    write_folder(&root.path().join("mine"), &own_config(&config()), &stored(&dequantized));
    for (command, more) in [("import", &[][..]), ("inspect", &[]), ("export", &["--to", "packed", "-o", "out"])] {
        let message = refusal(command, root.path(), &[&["mine"], more].concat());
        assert!(message.contains(Q_PROJ) && message.contains("quantized already"), "{command}: {message}");
    }
    assert!(!root.path().join("models/mine").exists() && !root.path().join("out").exists());
}

#[test]
fn what_is_no_folder_has_a_hint_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let refused = |source: &str| refusal("import", root.path(), &[source]);
    let pickles = root.path().join("pickles");
    fs::create_dir(&pickles).unwrap();
    fs::write(pickles.join("config.json"), own_config(&config()).to_string()).unwrap();
    fs::write(pickles.join("pytorch_model.bin"), "").unwrap();
    assert!(refused("pickles").contains("as pickles"));
    let source = write_own(&root.path().join("mine"), &config());
    assert!(refused("mine/model.safetensors").contains("is a file, not a model folder"));
    fs::remove_file(source.join("config.json")).unwrap();
    assert!(refused("mine").contains("mine has no config.json"));
    assert!(refused("nobody").contains("there is no run \"nobody\""));
}
