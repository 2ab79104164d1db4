//! What the files of a model folder are called, and the tensors in them that are no parameters.

/// The decoder's shape.
pub const CONFIG: &str = "config.json";
/// All weights in one file.
pub const WEIGHTS: &str = "model.safetensors";
/// Which of several files holds which weights.
pub const WEIGHTS_INDEX: &str = "model.safetensors.index.json";
/// Text to ids and back.
pub const TOKENIZER: &str = "tokenizer.json";
/// What transformers wants to know of the tokenizer; it may hold a chat template.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// How texts are generated.
pub const GENERATION_CONFIG: &str = "generation_config.json";
/// How chats are written, in Jinja.
pub const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// The tensor with the scale or scales of the parameter `name`, `<..>.weight_scale` given `<..>.weight`.
pub fn scale_name(name: &str) -> String {
    format!("{name}_scale")
}
