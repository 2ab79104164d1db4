//! A GGUF file as a model: its tensors under our names for them (`model`), its config, and its text side.

mod config;
mod model;
mod text;

pub(crate) use model::{GgufModel, is_gguf};
