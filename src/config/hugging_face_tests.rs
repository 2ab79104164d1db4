//! Claims about config.json: what is written is read back, public layouts are understood, foreign ones refused.

use super::*;
use crate::config::example::experiment;
use std::path::Path;

const TOKENS: TokenIds = TokenIds { bos: Some(0), eos: Some(1) };

fn written(model: &ModelConfig) -> String {
    model.to_hugging_face(TOKENS).unwrap().to_string()
}

/// The example's config.json with one key changed, as text.
fn with(key: &str, value: Value) -> String {
    let mut config = experiment().model.to_hugging_face(TOKENS).unwrap();
    config[key] = value;
    config.to_string()
}

fn refused(text: &str) -> String {
    let error = ModelConfig::from_hugging_face(text, "config.json").unwrap_err();
    assert_eq!(error.exit_status(), 2);
    error.to_string()
}

#[test]
fn write_then_read_is_the_identity() {
    use WeightQuantizer::*;
    for weights in [TernaryAbsmean, Sign, None] {
        for activations in [ActivationQuantizer::Int8Absmax, ActivationQuantizer::Int4Absmean, ActivationQuantizer::None] {
            for norm in [NormPlacement::Inside, NormPlacement::Outside] {
                for bits in 0..8_u32 {
                    let mut model = experiment().model;
                    model.bit_linear = BitLinearConfig { weights, activations, norm };
                    model.sub_norms = bits & 1 == 0;
                    model.tie_word_embeddings = bits & 2 == 0;
                    model.hidden_act = if bits & 4 == 0 { Activation::Relu2 } else { Activation::Silu };
                    model.rope_theta = 10_000.0 / 3.0 * f64::from(bits + 1);
                    model.num_key_value_heads = [1, 2, 4][bits as usize % 3];
                    let read = ModelConfig::from_hugging_face(&written(&model), "config.json").unwrap();
                    assert_eq!(read, HuggingFaceConfig { model, tokens: TOKENS, packed: Option::None });
                }
            }
        }
    }
}

#[test]
fn what_is_written_has_the_keys_that_transformers_needs() {
    let config = experiment().model.to_hugging_face(TokenIds { bos: None, eos: Some(3) }).unwrap();
    assert_eq!(config["architectures"], json!(["BitNetForCausalLM"]));
    assert_eq!(config["model_type"], "bitnet");
    assert_eq!(config["torch_dtype"], "float32");
    assert_eq!(config["hidden_act"], "relu2");
    assert_eq!((&config["bos_token_id"], &config["eos_token_id"]), (&Value::Null, &json!(3)));
    let quantization = json!({"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"});
    assert_eq!(config["quantization_config"], quantization);
    let bare = ModelConfig { sub_norms: false, ..experiment().model }.to_hugging_face(TOKENS).unwrap();
    assert_eq!((&bare["architectures"], &bare["model_type"]), (&json!(["LlamaForCausalLM"]), &json!("llama")));
    assert_eq!(bare["quantization_config"], quantization);
    let mut twin = experiment().model;
    twin.bit_linear.weights = WeightQuantizer::None;
    assert_eq!(twin.to_hugging_face(TOKENS).unwrap().get("quantization_config"), None);
}

/// The example with latent attention.
fn latent(q_lora_rank: Option<usize>) -> ModelConfig {
    let sizes = LatentAttention { q_lora_rank, kv_lora_rank: 64, qk_nope_head_dim: 32, qk_rope_head_dim: 16, v_head_dim: 48 };
    ModelConfig { attention: Attention::Latent(sizes), ..experiment().model }
}

#[test]
fn latent_attention_is_written_under_deepseeks_keys_and_read_back() {
    for rank in [Some(96), None] {
        let model = latent(rank);
        let config = model.to_hugging_face(TOKENS).unwrap();
        assert_eq!(
            (&config["model_type"], &config["kv_lora_rank"], &config["q_lora_rank"]),
            (&json!("bitnet_latent"), &json!(64), &json!(rank))
        );
        let read = ModelConfig::from_hugging_face(&config.to_string(), "config.json").unwrap();
        assert_eq!(read, HuggingFaceConfig { model, tokens: TOKENS, packed: None });
    }
}

#[test]
fn a_latent_config_that_contradicts_itself_is_refused() {
    let mut config = latent(None).to_hugging_face(TOKENS).unwrap();
    config["model_type"] = json!("bitnet");
    assert!(refused(&config.to_string()).contains("which `model_type` contradicts"));
    config["model_type"] = json!("bitnet_latent");
    config.as_object_mut().unwrap().remove("v_head_dim");
    assert!(refused(&config.to_string()).contains("the key `v_head_dim` is missing"));
}

/// The file as published, without the keys that only we write.
fn published(model_type: &str, extra: Value) -> String {
    let mut config = experiment().model.to_hugging_face(TOKENS).unwrap();
    let entries = config.as_object_mut().unwrap();
    entries.remove("bitnet");
    entries.remove("quantization_config");
    entries.insert("model_type".into(), json!(model_type));
    entries.extend(extra.as_object().unwrap().clone());
    config.to_string()
}

#[test]
fn public_layouts_imply_their_sub_norms_and_packing() {
    use WeightQuantizer::{None as Full, TernaryAbsmean};
    let quantized = |mode: Value, class: Value| json!({"quantization_config": {"quant_method": "bitnet", "quantization_mode": mode, "linear_class": class}});
    let cases = [
        ("bitnet", quantized(json!("offline"), json!("autobitlinear")), TernaryAbsmean, true, Some(PackedForm::Multiply)),
        ("bitnet", quantized(json!("online"), json!("autobitlinear")), TernaryAbsmean, true, None),
        ("llama", json!({"weight_bits": 1, "input_bits": 8}), TernaryAbsmean, true, None),
        ("llama", quantized(Value::Null, Value::Null), TernaryAbsmean, false, Some(PackedForm::Divide)),
        ("llama", json!({}), Full, false, None),
    ];
    for (model_type, extra, weights, sub_norms, packed) in cases {
        let read = ModelConfig::from_hugging_face(&published(model_type, extra.clone()), "config.json").unwrap();
        assert_eq!(
            (read.model.bit_linear.weights, read.model.sub_norms, read.packed),
            (weights, sub_norms, packed),
            "{model_type} {extra}"
        );
    }
}

#[test]
fn newer_and_older_spellings_are_read() {
    let text = published(
        "bitnet",
        json!({"rope_theta": null, "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}, "eos_token_id": [7, 8]}),
    );
    let read = ModelConfig::from_hugging_face(&text, "config.json").unwrap();
    assert_eq!((read.model.rope_theta, read.tokens.eos), (5e5, Some(7)));
    let text = published("llama", json!({"num_key_value_heads": null, "initializer_range": null}));
    let read = ModelConfig::from_hugging_face(&text, "config.json").unwrap().model;
    assert_eq!((read.num_key_value_heads, read.initializer_range), (4, 0.02));
}

#[test]
fn what_would_compute_something_else_is_refused() {
    assert_eq!(
        refused(&with("model_type", json!("gpt2"))),
        "config.json: `model_type` is \"gpt2\": expected bitnet, bitnet_latent or llama"
    );
    assert_eq!(refused(&with("attention_bias", json!(true))), "config.json: `attention_bias` is true: projections have no biases here");
    assert!(refused(&with("rope_scaling", json!({"factor": 8.0}))).contains("stretched rotary positions"));
    assert!(refused(&with("head_dim", json!(32))).contains("`head_dim` is 32"));
    assert!(refused(&with("quantization_config", json!({"quant_method": "gptq"}))).contains("only the bitnet quantization"));
    assert!(refused(&with("hidden_act", json!("gelu"))).contains("`hidden_act` is \"gelu\": unknown variant"));
    assert!(refused(&with("hidden_size", json!("wide"))).contains("`hidden_size` is \"wide\""));
    assert!(refused(&with("num_attention_heads", json!(0))).contains("`model.num_attention_heads` is 0"));
    assert!(refused(&with("vocab_size", Value::Null)).starts_with("config.json: the key `vocab_size` is missing\nhint: "));
    assert!(refused("[1]").starts_with("config.json: this is not a JSON object"));
    assert!(refused(&" ".repeat(300_000)).contains("larger than 262144 bytes"));
}

/// The published layouts in small, where the shared folder lies beside the checkout.
#[test]
fn the_golden_folders_read_as_their_readme_describes_them() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/golden");
    if !golden.is_dir() {
        eprintln!("skipped: {} is not there", golden.display());
        return;
    }
    let read = |folder: &str| {
        let text = std::fs::read_to_string(golden.join(folder).join("config.json")).unwrap();
        ModelConfig::from_hugging_face(&text, folder).unwrap()
    };
    let cases = [
        ("microsoft-master-f32", 2, Activation::Relu2, 500_000.0, true, None),
        ("microsoft-packed-f32", 2, Activation::Relu2, 500_000.0, true, Some(PackedForm::Multiply)),
        ("microsoft-packed-bf16", 2, Activation::Relu2, 500_000.0, true, Some(PackedForm::Multiply)),
        ("onebitllm-f32", 4, Activation::Silu, 10_000.0, false, None),
    ];
    for (folder, shared_heads, activation, theta, is_tied, packed) in cases {
        let HuggingFaceConfig { model, tokens, packed: found } = read(folder);
        assert_eq!((model.num_key_value_heads, model.hidden_act, model.rope_theta), (shared_heads, activation, theta), "{folder}");
        assert_eq!((model.tie_word_embeddings, found, tokens), (is_tied, packed, TOKENS), "{folder}");
        assert!(model.sub_norms && model.bit_linear.weights == WeightQuantizer::TernaryAbsmean, "{folder}");
        assert_eq!((model.hidden_size, model.intermediate_size, model.vocab_size, model.num_hidden_layers), (64, 160, 96, 2));
    }
}
