//! AdamW with a state that is saved, and which parameters decay. The learning rate of a step comes from `schedule`; the arithmetic
//! is libtorch's.

use crate::config::OptimizerConfig;
use crate::libtorch::{AdamwState, AdamwStep, adamw_step, clip_gradients, clip_gradients_late, drop_gradients, restore_parameters};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Kind, Tensor};

/// AdamW over named parameters.
#[derive(Debug)]
pub struct Adamw {
    config: OptimizerConfig,
    groups: [Group; 2],
}

/// Parameters that decay alike.
#[derive(Debug)]
struct Group {
    decays: bool,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    parameter: Tensor,
    state: AdamwState,
}

impl Adamw {
    /// A fresh state for `parameters`, whose order is that of their names.
    pub fn new(parameters: &BTreeMap<String, Tensor>, config: &OptimizerConfig) -> Self {
        let group = |decays| {
            let entries = parameters.iter().filter(|(name, _)| decay_applies(name, config) == decays);
            Group { decays, entries: entries.map(|(name, parameter)| Entry::new(name, parameter)).collect() }
        };
        Self { config: config.clone(), groups: [group(true), group(false)] }
    }

    /// Scales all gradients to a common norm of at most `max_norm`; returns the norm before, which may be infinite or NaN.
    pub fn clip(&self, max_norm: f64) -> Result<f64> {
        clip_gradients(&self.gradients(), max_norm)
    }

    /// [`Self::clip`] without waiting for the device: the norm is a float64 scalar there.
    pub fn clip_late(&self, max_norm: f64) -> Result<Tensor> {
        clip_gradients_late(&self.gradients(), max_norm)
    }

    fn gradients(&self) -> Vec<Tensor> {
        self.entries().map(|entry| entry.parameter.grad()).filter(Tensor::defined).collect()
    }

    /// Moves every parameter by its gradient, in place.
    ///
    /// # Errors
    /// A parameter has no gradient: it is not part of the loss.
    pub fn step(&mut self, learning_rate: f64, weight_decay: f64) -> Result<()> {
        self.update(learning_rate, weight_decay, None)
    }

    /// [`Self::step`] that changes nothing where `is_lost`, a float32 scalar on the parameters' device, is 1 rather than 0.
    pub fn step_unless(&mut self, is_lost: &Tensor, learning_rate: f64, weight_decay: f64) -> Result<()> {
        self.update(learning_rate, weight_decay, Some(is_lost))
    }

    fn update(&mut self, learning_rate: f64, weight_decay: f64, is_lost: Option<&Tensor>) -> Result<()> {
        for group in &self.groups {
            let gradients: Vec<Tensor> = group.entries.iter().map(|entry| entry.parameter.grad()).collect();
            if let Some(index) = gradients.iter().position(|gradient| !gradient.defined()) {
                return Err(Error::ours(format!("parameter {} has no gradient", group.entries[index].name)));
            }
            let parameters: Vec<&Tensor> = group.entries.iter().map(|entry| &entry.parameter).collect();
            let states: Vec<&AdamwState> = group.entries.iter().map(|entry| &entry.state).collect();
            let numbers = AdamwStep {
                learning_rate,
                beta1: self.config.beta1,
                beta2: self.config.beta2,
                weight_decay: if group.decays { weight_decay } else { 0.0 },
                epsilon: self.config.epsilon,
            };
            adamw_step(&parameters, &gradients.iter().collect::<Vec<_>>(), &states, numbers, is_lost)?;
        }
        Ok(())
    }

    /// Forgets every gradient, so that the next backward pass stores its own.
    pub fn drop_gradients(&mut self) -> Result<()> {
        drop_gradients(self.entries().map(|entry| &entry.parameter))
    }

    /// The state as named tensors, which share their memory with it: `<parameter>.exp_avg`, `.exp_avg_sq` and `.step`.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        self.entries().flat_map(Entry::state).collect()
    }

    /// Takes back what [`Self::state`] gave.
    ///
    /// # Errors
    /// A tensor is missing or of another shape; `source` names the file in the message.
    pub fn restore(&mut self, tensors: &BTreeMap<String, Tensor>, source: &Path) -> Result<()> {
        restore_parameters(&self.state(), tensors, source)
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.groups.iter().flat_map(|group| &group.entries)
    }
}

impl Entry {
    fn new(name: &str, parameter: &Tensor) -> Self {
        let state = AdamwState {
            mean: parameter.detach().zeros_like(),
            mean_square: parameter.detach().zeros_like(),
            step: Tensor::zeros([], (Kind::Float, parameter.device())),
        };
        Self { name: name.to_string(), parameter: parameter.shallow_clone(), state }
    }

    fn state(&self) -> [(String, Tensor); 3] {
        [("exp_avg", &self.state.mean), ("exp_avg_sq", &self.state.mean_square), ("step", &self.state.step)]
            .map(|(suffix, tensor)| (format!("{}.{suffix}", self.name), tensor.shallow_clone()))
    }
}

/// Matrices of projections decay always; norms, embedding and head by the config's choice.
fn decay_applies(name: &str, config: &OptimizerConfig) -> bool {
    if name.contains("norm") {
        config.decay_norms
    } else if name.contains("embed_tokens") || name.contains("lm_head") {
        config.decay_embeddings
    } else {
        true
    }
}
