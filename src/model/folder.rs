//! A model folder with latent weights as a decoder at work, with its text side. What the folder's files are is left to `folder`.

use super::Decoder;
use crate::config::{ModelConfig, Precision, parameter_name};
use crate::folder::{CONFIG, GENERATION_CONFIG, GenerationConfig, ModelFolder, WEIGHTS};
use crate::libtorch::{load_tensors, restore_parameters};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};
use std::collections::BTreeMap;
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

impl LoadedModel {
    /// Loads the folder `dir` with latent weights onto `device`.
    ///
    /// # Errors
    /// A file is missing or does not fit the others.
    pub fn load(dir: &Path, device: Device, precision: Precision) -> Result<Self> {
        let (config, decoder) = load_decoder(dir, device, precision)?;
        let folder = ModelFolder::new(dir);
        let tokenizer = folder.tokenizer(config.vocab_size)?;
        let endings = folder.generation()?.as_ref().and_then(GenerationConfig::endings).ok_or_else(|| {
            let path = folder.path(GENERATION_CONFIG);
            Error::input(format!("{} is missing, or has no `eos_token_id`", path.display())).hint("export the model again")
        })?;
        Ok(Self { config, decoder, tokenizer, endings })
    }
}

/// The decoder of the folder `dir` with latent weights, on `device`, and its shape: config.json and model.safetensors alone.
///
/// # Errors
/// A file is missing, or they do not fit each other.
pub fn load_decoder(dir: &Path, device: Device, precision: Precision) -> Result<(ModelConfig, Decoder)> {
    let model = read_model_config(dir)?;
    let path = dir.join(WEIGHTS);
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
    let config = ModelFolder::new(dir).config()?;
    match config.packed {
        None => Ok(config.model),
        Some(_) => {
            let message = format!("{}: packed weights cannot be used here", dir.join(CONFIG).display());
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
