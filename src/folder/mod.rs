//! The model folder on disk, in Hugging Face's layout: the names of its files, how large they may be, and what config.json,
//! generation_config.json and the text side say. Its weights are read by `inference::stored` and `libtorch`, and written by `export`.

mod generation;
mod model_folder;
mod names;

pub use generation::{GenerationConfig, SuggestedSampling, generation_json};
pub use model_folder::{ModelFolder, read_file, read_text, refuse_larger_vocabulary};
pub use names::{CHAT_TEMPLATE, CONFIG, GENERATION_CONFIG, TOKENIZER, TOKENIZER_CONFIG, WEIGHTS, WEIGHTS_INDEX, scale_name};
