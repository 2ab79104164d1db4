//! Where a model comes from: a folder of Hugging Face's files, or one GGUF file. Both give a config, and tensors under our names.

use super::from_gguf::{GgufModel, is_gguf};
use super::tensor::{OTHER_MODEL, StoredTensor};
use super::tensor_folder::TensorFolder;
use crate::config::HuggingFaceConfig;
use crate::folder::ModelFolder;
use crate::{Error, Result};
use std::path::Path;

/// The files of a model, opened.
pub(crate) enum Source {
    /// config.json and safetensors.
    Folder(HuggingFaceConfig, TensorFolder),
    /// One GGUF file.
    Gguf(GgufModel),
}

impl Source {
    /// Opens the folder or the GGUF file `path`; reads no weight.
    ///
    /// # Errors
    /// The user's: a file is missing or damaged.
    pub fn open(path: &Path) -> Result<Self> {
        match is_gguf(path) {
            true => Ok(Self::Gguf(GgufModel::open(path)?)),
            false => Ok(Self::Folder(ModelFolder::new(path).config()?, TensorFolder::open(path)?)),
        }
    }

    /// The model that the files say they are.
    pub fn config(&self) -> &HuggingFaceConfig {
        match self {
            Self::Folder(config, _) => config,
            Self::Gguf(model) => model.config(),
        }
    }

    /// Whether its projections are what is computed with, ternary where the model is, and never latent weights.
    pub fn is_for_computing(&self) -> bool {
        match self {
            Self::Folder(..) => false,
            Self::Gguf(_) => true,
        }
    }

    /// The tensor `name`, if there is one.
    pub fn find<'a>(&'a self, name: &'a str) -> Option<StoredTensor<'a>> {
        match self {
            Self::Folder(_, folder) => folder.find(name),
            Self::Gguf(model) => model.find(name),
        }
    }

    /// The tensor `name`.
    ///
    /// # Errors
    /// The user's: there is none.
    pub fn get<'a>(&'a self, name: &'a str) -> Result<StoredTensor<'a>> {
        self.find(name).ok_or_else(|| self.error(format!("tensor {name} is missing")).hint(OTHER_MODEL))
    }

    /// Our names of all tensors, in order.
    pub fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Folder(_, folder) => Box::new(folder.names()),
            Self::Gguf(model) => Box::new(model.names()),
        }
    }

    /// An error about the weights as a whole.
    pub fn error(&self, message: String) -> Error {
        match self {
            Self::Folder(_, folder) => folder.error(message),
            Self::Gguf(model) => model.error(message),
        }
    }
}
