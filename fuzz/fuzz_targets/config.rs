//! Any text as the config.json of a model folder: what is accepted can be written and read again.
#![no_main]

use bitnet::config::ModelConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(config) = ModelConfig::from_hugging_face(text, "config.json") else { return };
    let written = config.model.to_hugging_face(config.tokens).unwrap().to_string();
    assert_eq!(ModelConfig::from_hugging_face(&written, "config.json").unwrap().model, config.model);
});
