//! `export` as a process: what it writes computes what its source does, says how it came to be, and is written only where it may be.

mod folders;

use bitnet::config::{Activation, ActivationQuantizer, LatentAttention, ModelConfig, NormPlacement, WeightQuantizer};
use bitnet::config::{Attention, BitLinearConfig};
use bitnet::run::{CheckpointLabel, CheckpointStore, EvaluationRow, Fingerprints, Log, MetricsRow, NewFile, RunDirectory};
use bitnet::storage::DISK;
use bitnet::ternary::packing::unpack;
use bitnet::ternary::weights::ternary_absmean;
use bitnet::tokenizer::Tokenizer;
use folders::*;
use safetensors::Dtype;
use serde_json::json;
use std::fs;
use std::path::Path;

/// Every shape that transformers computes.
fn shared_with_transformers() -> [ModelConfig; 4] {
    let silu = ModelConfig { hidden_act: Activation::Silu, ..config() };
    let bare_relu2 = ModelConfig { hidden_act: Activation::Relu2, tie_word_embeddings: true, ..bare() };
    [config(), silu, bare(), bare_relu2]
}

#[test]
fn all_folders_compute_to_the_bit_what_their_source_does() {
    let place = Place::new();
    for (index, model) in shared_with_transformers().iter().enumerate() {
        let source = place.model(&format!("model-{index}"), model);
        let expected = logits(&source);
        for form in ["huggingface", "packed", "blocks"] {
            let (output, stderr) = place.export(&format!("model-{index}"), form, &format!("{form}-{index}"), &[]);
            assert!(!stderr.contains("warning"), "{stderr}");
            assert!(logits(&output) == expected, "{form} {index}");
        }
    }
}

#[test]
fn latent_weights_go_out_as_they_are_and_transformers_is_told_to_quantize_them() {
    let place = Place::new();
    let source = place.model("mine", &config());
    let (output, _) = place.export("mine", "huggingface", "out", &[]);
    assert_eq!(read_tensors(&output), read_tensors(&source));
    let config = read_json(&output.join("config.json"));
    assert_eq!((&config["model_type"], &config["architectures"]), (&json!("bitnet"), &json!(["BitNetForCausalLM"])));
    let quantization = json!({"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"});
    assert_eq!((&config["quantization_config"], &config["torch_dtype"]), (&quantization, &json!("float32")));
    let tokenizer = read_json(&output.join("tokenizer_config.json"));
    assert_eq!((&tokenizer["tokenizer_class"], &tokenizer["eos_token"]), (&json!("PreTrainedTokenizerFast"), &json!("<eos>")));
    assert_eq!(read_json(&output.join("generation_config.json"))["eos_token_id"], 2);
    assert_eq!(fs::read(output.join("tokenizer.json")).unwrap(), fs::read(source.join("tokenizer.json")).unwrap());
}

#[test]
fn packed_codes_and_scales_are_those_of_the_reference_quantizer() {
    let place = Place::new();
    place.model("mine", &config());
    let (output, stderr) = place.export("mine", "packed", "out", &[]);
    let (latent, found) = (tensors(&config(), 1), read_tensors(&output));
    let projections = latent.iter().filter(|(name, (shape, _))| name.contains(".layers.") && shape.len() == 2);
    for (name, (shape, numbers)) in projections {
        let expected = ternary_absmean(numbers).unwrap();
        let (dtype, packed_shape, bytes) = &found[name];
        assert_eq!((*dtype, packed_shape), (Dtype::U8, &vec![shape[0].div_ceil(4), shape[1]]), "{name}");
        assert_eq!(unpack(bytes, shape[0], shape[1]).unwrap(), expected.codes, "{name}");
        assert_eq!(found[&format!("{name}_scale")], as_f32(&(vec![1], vec![expected.scale])), "{name}");
    }
    assert_eq!(found.len(), latent.len() + 14);
    let quantization = json!({"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"});
    assert_eq!(read_json(&output.join("config.json"))["quantization_config"], quantization);
    let size = fs::metadata(output.join("model.safetensors")).unwrap().len();
    assert!(stderr.contains(&format!("{}.{} kB of weights", size / 1000, (size % 1000) / 100)), "{size}: {stderr}");
}

#[test]
fn options_of_files_are_refused_for_folders_and_those_of_folders_for_files() {
    let place = Place::new();
    place.model("mine", &config());
    let refused = |form: &str, more: [&str; 2]| refusal("export", place.path(), &["mine", "--to", form, "-o", "out", more[0], more[1]]);
    assert!(refused("packed", ["--type", "tq2_0"]).contains("--type and --embedding are for GGUF files"));
    assert!(refused("blocks", ["--embedding", "q8_0"]).contains("hint: take --to gguf, or --dtype"));
    assert!(refused("gguf", ["--dtype", "bfloat16"]).contains("--dtype is for folders"));
    assert!(!place.path().join("out").exists());
}

#[test]
fn what_is_packed_can_be_packed_again_but_its_latent_weights_are_gone() {
    let place = Place::new();
    place.model("mine", &config());
    let (first, _) = place.export("mine", "packed", "first", &[]);
    let (second, _) = place.export("first", "packed", "second", &[]);
    assert_eq!(read_tensors(&second), read_tensors(&first));
    let message = refusal("export", place.path(), &["first", "--to", "huggingface", "-o", "third"]);
    assert!(message.contains("first is packed: its latent weights are gone") && message.contains("hint: "), "{message}");
    assert!(!place.path().join("third").exists());
}

#[test]
fn numbers_can_be_rounded_to_bfloat16_but_no_scale_is() {
    let place = Place::new();
    place.model("mine", &config());
    let (latent, stderr) = place.export("mine", "huggingface", "latent", &["--dtype", "bfloat16"]);
    assert!(stderr.contains("warning: latent weights are rounded to bfloat16"), "{stderr}");
    let (dtype, _, bytes) = &read_tensors(&latent)["model.norm.weight"];
    let (_, exact) = &tensors(&config(), 1)["model.norm.weight"];
    assert_eq!((*dtype, bytes.len()), (Dtype::BF16, 2 * exact.len()));
    for (bytes, exact) in bytes.as_chunks::<2>().0.iter().zip(exact) {
        let number = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
        assert!((number - exact).abs() <= exact.abs() / 256.0, "{number} {exact}");
    }
    assert_eq!(read_json(&latent.join("config.json"))["torch_dtype"], "bfloat16");
    let (packed, stderr) = place.export("mine", "packed", "packed", &["--dtype", "bfloat16"]);
    assert!(!stderr.contains("warning"), "{stderr}");
    let tensors = read_tensors(&packed);
    assert_eq!((tensors["model.embed_tokens.weight"].0, tensors[&format!("{Q_PROJ}_scale")].0), (Dtype::BF16, Dtype::F32));
    let (again, _) = place.export("packed", "packed", "again", &[]);
    assert_eq!(read_tensors(&again), tensors, "as stored");
}

#[test]
fn what_transformers_would_compute_differently_is_refused_or_packed_with_a_warning() {
    let place = Place::new();
    let with = |change: fn(&mut BitLinearConfig)| {
        let mut model = config();
        change(&mut model.bit_linear);
        model
    };
    let sizes = LatentAttention { q_lora_rank: None, kv_lora_rank: 20, qk_nope_head_dim: 10, qk_rope_head_dim: 6, v_head_dim: 14 };
    let cases = [
        ("latent attention", ModelConfig { attention: Attention::Latent(sizes), num_key_value_heads: 4, ..config() }),
        ("norm is inside", with(|quantizers| quantizers.norm = NormPlacement::Inside)),
        ("activations is int4_absmean", with(|quantizers| quantizers.activations = ActivationQuantizer::Int4Absmean)),
        ("activations is none", with(|quantizers| quantizers.activations = ActivationQuantizer::None)),
    ];
    for (index, (reason, model)) in cases.iter().enumerate() {
        let (name, output) = (format!("model-{index}"), format!("packed-{index}"));
        let source = place.model(&name, model);
        let message = refusal("export", place.path(), &[&name, "--to", "huggingface", "-o", "out"]);
        assert!(message.contains("cannot be exported for transformers") && message.contains(reason), "{message}");
        let (packed, stderr) = place.export(&name, "packed", &output, &[]);
        assert!(stderr.contains("warning: only bitnet computes this model") && stderr.contains(reason), "{stderr}");
        assert!(logits(&packed) == logits(&source), "{reason}");
        let card = fs::read_to_string(packed.join("README.md")).unwrap();
        assert!(card.contains("Not with transformers") && !card.contains("library_name"), "{card}");
        let (blocks, stderr) = place.export(&name, "blocks", &format!("blocks-{index}"), &[]);
        assert!(!stderr.contains("warning") && logits(&blocks) == logits(&source), "{reason}: {stderr}");
    }
}

#[test]
fn sign_weights_can_only_be_packed_and_full_precision_cannot_be() {
    let place = Place::new();
    let mut model = config();
    model.bit_linear.weights = WeightQuantizer::Sign;
    let source = place.model("sign", &model);
    assert!(refusal("export", place.path(), &["sign", "--to", "huggingface", "-o", "out"]).contains("weights is sign"));
    let (packed, stderr) = place.export("sign", "packed", "packed", &[]);
    assert!(logits(&packed) == logits(&source) && !stderr.contains("warning"), "{stderr}");
    (model.bit_linear.weights, model.bit_linear.activations) = (WeightQuantizer::None, ActivationQuantizer::None);
    let source = place.model("full", &model);
    for form in ["packed", "blocks"] {
        let message = refusal("export", place.path(), &["full", "--to", form, "-o", "out"]);
        assert!(message.contains("there are no codes to pack") && message.contains("hint: "), "{message}");
    }
    let (full, _) = place.export("full", "huggingface", "full-out", &[]);
    assert!(logits(&full) == logits(&source));
    assert_eq!(read_json(&full.join("config.json")).get("quantization_config"), None);
}

#[test]
fn rows_that_transformers_cannot_unpack_are_told() {
    let place = Place::new();
    place.model("mine", &ModelConfig { intermediate_size: 70, ..config() });
    let (_, stderr) = place.export("mine", "packed", "out", &[]);
    assert!(stderr.contains("warning: only bitnet computes this model; mlp.gate_proj has 70 rows"), "{stderr}");
}

#[test]
fn a_folder_that_is_there_is_replaced_only_by_force_and_never_what_depends_on_it() {
    let place = Place::new();
    let source = place.model("mine", &config());
    let refused =
        |output: &str, more: &[&str]| refusal("export", place.path(), &[&["mine", "--to", "packed", "-o", output][..], more].concat());
    let (output, _) = place.export("mine", "huggingface", "out", &[]);
    let message = refused("out", &[]);
    assert!(message.contains("out is there already") && message.contains("--force"), "{message}");
    assert!(read_tensors(&output) == read_tensors(&source), "a refusal changes nothing");
    fs::write(output.join("old.txt"), "old").unwrap();
    place.export("mine", "packed", "out", &["--force"]);
    assert!(!output.join("old.txt").exists() && read_tensors(&output).contains_key(&format!("{Q_PROJ}_scale")));
    assert!(refused("mine", &["--force"]).contains("holds the model that is exported"));
    assert!(refused(".", &["--force"]).contains("holds the model that is exported"));
    for (name, file, message) in [("notes", "a.txt", "is no model folder"), ("step", "COMPLETE", "is a checkpoint of a run")] {
        fs::create_dir(place.path().join(name)).unwrap();
        fs::write(place.path().join(name).join(file), "").unwrap();
        assert!(refused(name, &["--force"]).contains(message));
    }
    fs::create_dir(place.path().join("empty")).unwrap();
    place.export("mine", "packed", "empty", &[]);
    fs::write(place.path().join("file"), "").unwrap();
    assert!(refused("file", &["--force"]).contains("file is a file"));
    let names: Vec<String> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.starts_with('.')), "nothing temporary is left: {names:?}");
}

/// A run with three rows of logs and a checkpoint of step 2.
fn make_run(root: &Path) -> RunDirectory {
    let run = RunDirectory::create(&DISK, root, "trained").unwrap();
    let config_yaml = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/example/config.yaml");
    fs::copy(config_yaml, run.config_path()).unwrap();
    let mut log = Log::open(&DISK, &run.metrics_path()).unwrap();
    for step in 1..=3 {
        let row = MetricsRow {
            step,
            tokens: step * 64,
            loss: 3.0,
            learning_rate: 1e-3,
            weight_decay: 0.1,
            grad_norm: 1.0,
            skipped_steps: 0,
            step_seconds: 0.1,
            tokens_per_second: 640.0,
            unix_time: 1.7e9 + step as f64,
            mfu: None,
        };
        log.append(&row).unwrap();
    }
    let mut evaluations = Log::open(&DISK, &run.evaluation_path()).unwrap();
    for (step, value) in [(2, 2.5), (3, 2.25)] {
        evaluations.append(&EvaluationRow { step, metric: "loss".into(), value }).unwrap();
    }
    let source = write_own(&root.join("source"), &config());
    let files: Vec<(&str, Vec<u8>)> =
        ["config.json", "model.safetensors", "tokenizer.json"].map(|name| (name, fs::read(source.join(name)).unwrap())).to_vec();
    let mut store = CheckpointStore::open(&DISK, run.checkpoints_dir(), 2).unwrap();
    let label = CheckpointLabel { step: 2, fingerprints: Fingerprints::default(), held_out_loss: None };
    store.save(&label, files.iter().map(|(name, content)| NewFile::bytes(name, content)).collect()).unwrap();
    run
}

#[test]
fn the_prompt_of_a_card_is_one_that_the_tokenizer_reads_and_its_title_the_models_name() {
    let place = Place::new();
    let source = write_own(&place.path().join("tales"), &config());
    for (alphabet, prompt) in [("abcdefghijklmnopqrstuvwxyz O", "Once upon a time"), ("0123456789+-= ", "25 + 17 ="), ("xyz!?", "xyz!?")] {
        fs::write(source.join("tokenizer.json"), Tokenizer::characters(alphabet, 36).unwrap().to_json().unwrap()).unwrap();
        let (output, _) = place.export("tales", "packed", "out", &["--force"]);
        let card = fs::read_to_string(output.join("README.md")).unwrap();
        assert!(card.contains("\n# tales\n") && card.contains(&format!("--prompt {prompt:?}`")), "{card}");
    }
}

#[test]
fn the_card_of_a_run_tells_how_the_model_came_to_be_and_leaves_the_licence_open() {
    let place = Place::new();
    make_run(place.path());
    let (output, _) = place.export("train", "huggingface", "out", &[]);
    let card = fs::read_to_string(output.join("README.md")).unwrap();
    for part in [
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- bitnet\n",
        "# license: choose one before you publish\n---\n\n# trained\n",
        "AutoModelForCausalLM.from_pretrained",
        "| layers | 2 |",
        "| attention | 4 heads, 2 of keys and values |",
        "| weights | ternary_absmean |",
        "| run | trained |",
        "| data | arithmetic problems made on the fly, operands 0 to 99 |",
        "| steps | 2 |",
        "| tokens | 128 |",
        "| training loss | 3.000 nats a token |",
        "| held-out loss | 2.500 nats a token |",
        "![Loss, held-out loss and learning rate](loss.png)",
    ] {
        assert!(card.contains(part), "{part}\n{card}");
    }
    assert!(fs::read(output.join("loss.png")).unwrap().starts_with(b"\x89PNG\r\n"));
    place.model("mine", &config());
    let (output, _) = place.export("mine", "packed", "other", &[]);
    let card = fs::read_to_string(output.join("README.md")).unwrap();
    assert!(!card.contains("## Training") && !output.join("loss.png").exists(), "a folder without a run has no history");
}

#[test]
fn a_chat_template_and_a_tokenizer_config_go_along_byte_for_byte() {
    let place = Place::new();
    let source = place.model("mine", &config());
    for (name, content) in [
        ("tokenizer_config.json", r#"{"tokenizer_class": "LlamaTokenizerFast"}"#),
        ("chat_template.jinja", "{% for message in messages %}{{ message.content }}{% endfor %}"),
        ("generation_config.json", r#"{"eos_token_id": [2, 5], "temperature": 0.7}"#),
    ] {
        fs::write(source.join(name), content).unwrap();
        place.export("mine", "packed", "out", &["--force"]);
        assert_eq!(fs::read_to_string(place.path().join("out").join(name)).unwrap(), content);
    }
}

#[test]
fn a_tokenizer_that_does_not_fit_is_refused_and_a_missing_one_is_told() {
    let place = Place::new();
    let source = place.model("mine", &config());
    let larger = bitnet::tokenizer::Tokenizer::characters("abc", 37).unwrap().to_json().unwrap();
    fs::write(source.join("tokenizer.json"), larger).unwrap();
    let message = refusal("export", place.path(), &["mine", "--to", "packed", "-o", "out"]);
    assert!(message.contains("tokenizer.json: 37 tokens, but config.json has vocab_size 36"), "{message}");
    fs::remove_file(source.join("tokenizer.json")).unwrap();
    let (_, stderr) = place.export("mine", "packed", "out", &[]);
    assert!(stderr.contains("warning: there is no tokenizer.json"), "{stderr}");
}
