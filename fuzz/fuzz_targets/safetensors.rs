//! Any bytes as the weights of a small model with packed codes, in the layout of others and in that of the kernels.
#![no_main]

use bitnet::inference::{Chunk, Inspection, LoadOptions, Model, StoredModel, Wanted};
use bitnet::ternary::threads::Threads;
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"{"model_type": "bitnet", "vocab_size": 8, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
    "num_attention_heads": 1, "max_position_embeddings": 8, "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "hidden_act": "relu2",
    "tie_word_embeddings": true, "quantization_config": {"quant_method": "bitnet", "quantization_mode": "offline"}}"#;

fuzz_target!(|bytes: &[u8]| {
    let Ok(dir) = tempfile::tempdir() else { return };
    if std::fs::write(dir.path().join("model.safetensors"), bytes).is_err() {
        return;
    }
    for config in [CONFIG, &CONFIG.replace(r#""bitnet", "quantization_mode""#, r#""bitnet-blocks", "quantization_mode""#)] {
        if std::fs::write(dir.path().join("config.json"), config).is_err() {
            return;
        }
        if let (Ok(stored), Ok(threads)) = (StoredModel::open(dir.path()), Threads::new(1)) {
            let _ = Inspection::of(&stored, &threads);
            let is_table = |name: &str| name == "model.embed_tokens.weight";
            let table = stored.parameters().iter().find(|parameter| is_table(&parameter.name));
            let _ = table.map(|table| stored.read_int8_rows(table, |_, _| Ok(())));
        }
        let Ok(model) = Model::load(dir.path(), &LoadOptions { num_threads: 1, ..LoadOptions::default() }) else { continue };
        let (Ok(mut cache), mut workspace) = (model.new_cache(4), model.new_workspace(4)) else { continue };
        let _ = model.forward(&mut [Chunk { cache: &mut cache, tokens: &[0, 7], logits: Wanted::All }], &mut workspace);
    }
});
