//! A model folder in Hugging Face's layout, loaded for use: config.json, model.safetensors, tokenizer.json, generation_config.json.

use super::Decoder;
use crate::config::{ModelConfig, Precision, parameter_name};
use crate::libtorch::{load_tensors, restore_parameters};
use crate::tokenizer::Tokenizer;
use crate::{Context, Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tch::nn::VarStore;
use tch::{Device, Tensor};

/// A model that can be asked.
pub struct LoadedModel {
    /// Its shape.
    pub config: ModelConfig,
    /// Its weights at work.
    pub decoder: Decoder,
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    /// Tokens that end a text.
    pub endings: Vec<u32>,
}

/// The part of generation_config.json that is used here.
#[derive(Deserialize)]
struct GenerationConfig {
    eos_token_id: Ids,
}

/// One id or several, as transformers writes it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Several(Vec<u32>),
}

impl LoadedModel {
    /// Loads the folder `dir` with latent weights onto `device`.
    ///
    /// # Errors
    /// A file is missing or does not fit the others.
    pub fn load(dir: &Path, device: Device, precision: Precision) -> Result<Self> {
        let (config, decoder) = load_decoder(dir, device, precision)?;
        let tokenizer_path = dir.join("tokenizer.json");
        let tokenizer = Tokenizer::from_json(&read(&tokenizer_path)?).context(|| tokenizer_path.display().to_string())?;
        if tokenizer.vocab_size() > config.vocab_size {
            let (tokens, rows) = (tokenizer.vocab_size(), config.vocab_size);
            let message = format!("{}: {tokens} tokens, but config.json has vocab_size {rows}", tokenizer_path.display());
            return Err(Error::input(message).hint("the files are of different models"));
        }
        let generation_path = dir.join("generation_config.json");
        let generation: GenerationConfig = serde_json::from_str(&read(&generation_path)?)
            .map_err(|error| Error::input(format!("{}: {error}", generation_path.display())))?;
        let endings = match generation.eos_token_id {
            Ids::One(id) => vec![id],
            Ids::Several(ids) => ids,
        };
        Ok(Self { config, decoder, tokenizer, endings })
    }
}

/// The decoder of the folder `dir` with latent weights, on `device`, and its shape: config.json and model.safetensors alone.
///
/// # Errors
/// A file is missing, or they do not fit each other.
pub fn load_decoder(dir: &Path, device: Device, precision: Precision) -> Result<(ModelConfig, Decoder)> {
    let model = read_model_config(dir)?;
    let path = dir.join("model.safetensors");
    let tensors = load_tensors(&path).map_err(Error::blame_input)?;
    let tensors = tensors.into_iter().map(|(name, tensor)| (parameter_name(&name), tensor)).collect();
    refuse_smaller_file(&tensors, &model, &path)?;
    let store = VarStore::new(device);
    let unset = ModelConfig { initializer_range: 0.0, ..model.clone() };
    let decoder = Decoder::new(&store.root(), &unset, precision);
    restore_parameters(&store.variables().into_iter().collect(), &tensors, &path)?;
    Ok((model, decoder))
}

/// The shape of the model in the folder `dir`, whose weights are latent ones.
pub(super) fn read_model_config(dir: &Path) -> Result<ModelConfig> {
    let path = dir.join("config.json");
    let config = ModelConfig::from_hugging_face(&read(&path)?, &path.display().to_string())?;
    match config.packed {
        None => Ok(config.model),
        Some(_) => {
            let message = format!("{}: packed weights cannot be used here", path.display());
            Err(Error::input(message).hint("use a checkpoint with latent weights"))
        }
    }
}

/// Before memory is taken for a model that config.json claims to be much larger than its file; a few missing tensors are named later.
fn refuse_smaller_file(tensors: &BTreeMap<String, Tensor>, model: &ModelConfig, path: &Path) -> Result<()> {
    let (held, needed) = (tensors.values().map(Tensor::numel).sum::<usize>(), model.num_parameters());
    if held >= needed / 2 {
        return Ok(());
    }
    let message = format!("{} holds {held} numbers, but the model of config.json has {needed}", path.display());
    Err(Error::input(message).hint("the files are of different models"))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).context(|| format!("reading {}", path.display())).map_err(Error::blame_input)
}
