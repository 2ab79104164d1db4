//! The weights of a model folder as the start of another run: checked against that run's model before anything is built. The folder's
//! layout and names are `folder`'s business, training `train`'s.

use super::folder::read_model_config;
use crate::config::{ModelConfig, parameter_name};
use crate::libtorch::{load_tensors, restore_parameters};
use crate::storage::{content_hash, hash_reader};
use crate::{Context, Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Keys that decide what the same weights compute, or which shapes they have. Quantizers are not among them: giving a full-precision model
/// other ones is what this is for.
const SAME: [&str; 11] = [
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "rope_theta",
    "rms_norm_eps",
    "hidden_act",
    "tie_word_embeddings",
    "attention",
];

/// Weights that fit a model, in float32 on the CPU.
pub struct InitialWeights {
    tensors: BTreeMap<String, Tensor>,
    path: PathBuf,
    hash: String,
    notes: Vec<String>,
}

impl InitialWeights {
    /// Those of the folder `dir`, for `model`. Sub-norms that the folder's model does not have begin at one.
    ///
    /// # Errors
    /// The user's: a file is missing or damaged, a key of config.json says that the folder is of another model, weights are not finite,
    /// packed, or quantized already where `model` would quantize them again.
    pub fn load(dir: &Path, model: &ModelConfig) -> Result<Self> {
        let theirs = read_model_config(dir)?;
        refuse_other_model(&theirs, model, dir)?;
        let path = dir.join("model.safetensors");
        let hash = content_hash((hash_of(&dir.join("config.json"))? + &hash_of(&path)?).as_bytes());
        let mut loaded: BTreeMap<String, Tensor> =
            load_tensors(&path).map_err(Error::blame_input)?.into_iter().map(|(name, tensor)| (parameter_name(&name), tensor)).collect();
        let num_new_norms = if theirs.sub_norms { 0 } else { add_sub_norms(&mut loaded, model) };
        let fitting = model.parameter_shapes().into_iter().map(|(name, shape)| {
            let tensor = fitting(&mut loaded, &name, &shape).map_err(|error| error.context(path.display()).blame_input())?;
            Ok((name, tensor))
        });
        let weights = Self { tensors: fitting.collect::<Result<_>>()?, path, hash, notes: notes(dir, num_new_norms) };
        if model.bit_linear.weights.has_codes() {
            weights.refuse_quantized(model)?;
        }
        Ok(weights)
    }

    /// Hash of the folder's config and weights.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What a person should hear.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Copies them into the parameters of the same names.
    ///
    /// # Errors
    /// The parameters are not those of the model that these were loaded for.
    pub fn copy_into(&self, parameters: &BTreeMap<String, Tensor>) -> Result<()> {
        restore_parameters(parameters, &self.tensors, &self.path)
    }

    /// Quantizing ternary values once more shrinks them by the share of those that are not zero.
    fn refuse_quantized(&self, model: &ModelConfig) -> Result<()> {
        for projection in model.projections() {
            let ending = format!(".{}.weight", projection.name);
            for (name, weight) in self.tensors.iter().filter(|(name, _)| name.ends_with(&ending)) {
                if has_at_most_three_values(weight)? {
                    let message =
                        format!("{}: tensor {name} has at most three distinct values: it is quantized already", self.path.display());
                    let hint = "start from the latent weights that it was quantized from, or set model.bit_linear.weights=none";
                    return Err(Error::input(message).hint(hint));
                }
            }
        }
        Ok(())
    }
}

fn notes(dir: &Path, num_new_norms: usize) -> Vec<String> {
    let mut notes = vec![format!("weights from {}", dir.display())];
    if num_new_norms > 0 {
        notes.push(format!("{} has no sub-norms: the {num_new_norms} of this model begin at one", dir.display()));
    }
    notes
}

fn hash_of(path: &Path) -> Result<String> {
    let hash = File::open(path).and_then(hash_reader).context(|| format!("reading {}", path.display()));
    hash.map(|(hash, _)| hash).map_err(Error::blame_input)
}

/// Names the first key under which the folder's model is another one.
fn refuse_other_model(theirs: &ModelConfig, ours: &ModelConfig, dir: &Path) -> Result<()> {
    let (found, wanted) = (serde_json::to_value(theirs)?, serde_json::to_value(ours)?);
    let differing = SAME.iter().copied().find(|key| found[key] != wanted[key]);
    let (key, found, wanted) = match differing {
        Some(key) => (key, found[key].to_string(), wanted[key].to_string()),
        None if theirs.bit_linear.norm != ours.bit_linear.norm => {
            ("bit_linear.norm", found["bit_linear"]["norm"].to_string(), wanted["bit_linear"]["norm"].to_string())
        }
        None if theirs.sub_norms && !ours.sub_norms => ("sub_norms", "true".into(), "false".into()),
        None => return Ok(()),
    };
    let message = format!("init_from: {}: its model has {key} {found}, the experiment's model.{key} is {wanted}", dir.display());
    Err(Error::input(message).hint(format!("--set 'model.{key}={found}', or start from another folder")))
}

/// Ones for the sub-norms of `model` that are not there; how many.
fn add_sub_norms(tensors: &mut BTreeMap<String, Tensor>, model: &ModelConfig) -> usize {
    let shapes = model.parameter_shapes().into_iter();
    let missing: Vec<_> = shapes.filter(|(name, _)| name.contains("_sub_norm.") && !tensors.contains_key(name)).collect();
    let num_missing = missing.len();
    for (name, shape) in missing {
        tensors.insert(name, Tensor::ones([shape[0] as i64], (Kind::Float, tch::Device::Cpu)));
    }
    num_missing
}

/// The tensor `name`, of `shape`, in float32.
fn fitting(tensors: &mut BTreeMap<String, Tensor>, name: &str, shape: &[usize]) -> Result<Tensor> {
    const HINT: &str = "the file does not fit its own config.json";
    let tensor = tensors.remove(name).ok_or_else(|| Error::input(format!("tensor {name} is missing")).hint(HINT))?;
    let wanted: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
    if tensor.size() != wanted || !tensor.is_floating_point() {
        let message = format!("tensor {name} is {:?} {:?}, expected a floating point type and {wanted:?}", tensor.kind(), tensor.size());
        return Err(Error::input(message).hint(HINT));
    }
    let tensor = tensor.to_kind(Kind::Float);
    refuse_not_finite(&tensor, name)?;
    Ok(tensor)
}

/// One number that is not finite makes every loss so.
fn refuse_not_finite(tensor: &Tensor, name: &str) -> Result<()> {
    if bool::try_from(tensor.isfinite().all())? {
        return Ok(());
    }
    let index = Vec::<i64>::try_from(tensor.isfinite().logical_not().nonzero().get(0))?;
    let value = tensor.f_double_value(&index)?;
    let message = format!("tensor {name} is {value} at {index:?}: from weights that are not finite nothing is learned");
    Err(Error::input(message).hint("start from an earlier state of that model"))
}

/// Looks at one row at a time: of latent weights the first one tells.
fn has_at_most_three_values(weight: &Tensor) -> Result<bool> {
    let mut values: Vec<f32> = Vec::new();
    for row in 0..weight.size()[0] {
        for number in Vec::<f32>::try_from(weight.get(row))? {
            if !values.contains(&number) {
                values.push(number);
            }
            if values.len() > 3 {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
