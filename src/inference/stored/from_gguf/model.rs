//! A mapped GGUF file, and its tensors under our names for them. What the bytes of a block mean is left to `gguf`, and which tensors a model
//! needs to `weights`.

use super::config;
use crate::config::HuggingFaceConfig;
use crate::folder::scale_name;
use crate::gguf::{File, our_name};
use crate::inference::stored::tensor::{Encoding, StoredTensor};
use crate::storage::MappedFile;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A mapped file whose header has been checked.
pub(crate) struct GgufModel {
    pub(super) path: PathBuf,
    pub(super) file: File<MappedFile>,
    config: HuggingFaceConfig,
    places: BTreeMap<String, Place>,
    /// Width of a head whose rows of q and k are interleaved; none where they are in our order.
    interleaved: Option<usize>,
}

/// A tensor under our name for it.
struct Place {
    name_in_file: String,
    shape: Vec<usize>,
}

/// Whether `path` names a GGUF file rather than a folder.
pub(crate) fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) && !path.is_dir()
}

impl GgufModel {
    /// Maps the file at `path` and reads its header.
    ///
    /// # Errors
    /// The user's: no such file, a header that lies, or a model that the engine does not have.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::parse(&path.display().to_string(), MappedFile::open(path)?)?;
        let places = file.tensor_names().map(|name| (our_name_of(name), Place::of(&file, name))).collect();
        let (config, is_interleaved) = config::read(&file)?;
        let interleaved = is_interleaved.then(|| config.model.head_dim());
        Ok(Self { path: path.to_owned(), config, places, interleaved, file })
    }

    /// The model that its metadata describe.
    pub fn config(&self) -> &HuggingFaceConfig {
        &self.config
    }

    /// The tensor that we call `name`, if there is one.
    pub fn find<'a>(&'a self, name: &'a str) -> Option<StoredTensor<'a>> {
        let Place { name_in_file, shape } = self.places.get(name)?;
        let tensor = self.file.tensor(name_in_file)?;
        let has_interleaved_rows = name.ends_with(".q_proj.weight") || name.ends_with(".k_proj.weight");
        Some(StoredTensor {
            path: &self.path,
            name: name_in_file,
            encoding: Encoding::Blocks(tensor.kind),
            shape,
            bytes: tensor.bytes,
            file: None,
            interleaved: self.interleaved.filter(|_| has_interleaved_rows),
        })
    }

    /// Our names of all tensors, in order; those that we have none for as the file has them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// An error about the file as a whole.
    pub fn error(&self, message: String) -> Error {
        self.file.error(message)
    }
}

impl Place {
    /// The place of the tensor `name`: its shape with the innermost axis last.
    fn of(file: &File<MappedFile>, name: &str) -> Self {
        let dimensions = file.tensor(name).map(|tensor| tensor.dimensions).unwrap_or_default();
        Self { name_in_file: name.to_owned(), shape: dimensions.iter().rev().map(|axis| *axis as usize).collect() }
    }
}

/// A scale beside a matrix is to us what it is in a folder of packed codes.
fn our_name_of(name: &str) -> String {
    let scaled = name.strip_suffix(".scale").and_then(|matrix| our_name(&format!("{matrix}.weight")));
    scaled.map(|matrix| scale_name(&matrix)).or_else(|| our_name(name)).unwrap_or_else(|| name.to_owned())
}
