//! Any bytes as the weights of a small model with packed codes.
#![no_main]

use bitnet::inference::{LoadOptions, Model, StoredModel};
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"{"model_type": "bitnet", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
    "num_attention_heads": 1, "max_position_embeddings": 8, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "hidden_act": "relu2",
    "tie_word_embeddings": true, "quantization_config": {"quant_method": "bitnet", "quantization_mode": "offline"}}"#;

fuzz_target!(|bytes: &[u8]| {
    let Ok(dir) = tempfile::tempdir() else { return };
    let is_written = std::fs::write(dir.path().join("config.json"), CONFIG).is_ok();
    if is_written && std::fs::write(dir.path().join("model.safetensors"), bytes).is_ok() {
        let _ = StoredModel::open(dir.path());
        let _ = Model::load(dir.path(), &LoadOptions { num_threads: 1, ..LoadOptions::default() });
    }
});
