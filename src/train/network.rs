//! The tensors that training changes: the decoder's parameters and the optimizer's memory of them.

use crate::config::Experiment;
use crate::libtorch::{self, TensorFile, load_tensors, restore_parameters};
use crate::model::{Activations, Decoder, InitialWeights};
use crate::optimizer::Adamw;
use crate::random::Random;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use tch::nn::VarStore;
use tch::{Device, Tensor};

/// A decoder in training.
pub struct Network {
    parameters: BTreeMap<String, Tensor>,
    /// The forward pass.
    pub decoder: Decoder,
    /// The update.
    pub optimizer: Adamw,
}

impl Network {
    /// A freshly initialized network; the same for the same seed.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new(experiment: &Experiment, device: Device) -> Result<Self> {
        libtorch::flush_denormals()?;
        libtorch::random::seed(Random::derive(experiment.seed, "initialization", 0).next_u64())?;
        libtorch::caught(|| Ok(Self::initialized(experiment, device)))
    }

    fn initialized(experiment: &Experiment, device: Device) -> Self {
        libtorch::keep_freed_memory();
        let store = VarStore::new(device);
        let keeps = if experiment.train.activation_checkpointing { Activations::BlockInputs } else { Activations::All };
        let decoder = Decoder::new(&store.root(), &experiment.model, experiment.precision).keeping(keeps);
        let parameters: BTreeMap<String, Tensor> = store.variables().into_iter().collect();
        let optimizer = Adamw::new(&parameters, &experiment.train.optimizer);
        Self { parameters, decoder, optimizer }
    }

    /// Takes other weights than those that it was made with; the optimizer has seen none yet.
    pub fn begin_with(&self, weights: &InitialWeights) -> Result<()> {
        weights.copy_into(&self.parameters)
    }

    /// What the last backward pass left, of every parameter that is part of the loss.
    pub fn gradients(&self) -> BTreeMap<String, Tensor> {
        let gradients = self.parameters.iter().map(|(name, parameter)| (name.clone(), parameter.grad()));
        gradients.filter(|(_, gradient)| gradient.defined()).collect()
    }

    /// `model.safetensors`: the float32 masters.
    ///
    /// # Errors
    /// A parameter is not finite: such a state is never saved.
    pub fn weights_file(&self) -> Result<TensorFile> {
        for (name, parameter) in &self.parameters {
            if !bool::try_from(parameter.isfinite().all())? {
                return Err(Error::ours(format!("parameter {name} is not finite; it is not saved")));
            }
        }
        TensorFile::new(self.parameters.iter().map(|(name, parameter)| (name.clone(), parameter.shallow_clone())))
    }

    /// `optimizer.safetensors`.
    pub fn optimizer_file(&self) -> Result<TensorFile> {
        TensorFile::new(self.optimizer.state())
    }

    /// Takes back what both files hold.
    pub fn restore(&mut self, weights: &Path, optimizer: &Path) -> Result<()> {
        restore_parameters(&self.parameters, &load_tensors(weights)?, weights)?;
        self.optimizer.restore(&load_tensors(optimizer)?, optimizer)
    }
}
