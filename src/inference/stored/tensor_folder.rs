//! The tensors of a model folder by name, mapped from one safetensors file or several. Every header is checked against its file before a
//! number is read; what the names mean is left to `weights`.

use super::tensor::{Encoding, StoredTensor};
use crate::config::parameter_name;
use crate::folder::{ModelFolder, WEIGHTS, WEIGHTS_INDEX, read_file};
use crate::storage::MappedFile;
use crate::{Error, Result};
use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Where a safetensors file's header begins: behind its length.
const HEADER_START: usize = 8;

/// All tensors of a folder, under our names for them.
pub(crate) struct TensorFolder {
    files: Vec<TensorFile>,
    places: BTreeMap<String, Place>,
}

/// A file with its header.
struct TensorFile {
    path: PathBuf,
    map: Arc<MappedFile>,
    metadata: Metadata,
    data_start: usize,
}

/// Which tensor of which file.
struct Place {
    file: usize,
    name_in_file: String,
}

/// model.safetensors.index.json: which file holds which tensor.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl TensorFolder {
    /// Opens `dir/model.safetensors`, or the shards that `dir/model.safetensors.index.json` lists.
    ///
    /// # Errors
    /// The user's: a file is missing, cut short, or its header lies.
    pub fn open(dir: &Path) -> Result<Self> {
        let folder = ModelFolder::new(dir);
        let (whole, index) = (folder.path(WEIGHTS), folder.path(WEIGHTS_INDEX));
        match index.is_file() && !whole.is_file() {
            true => Self::open_shards(dir, &index),
            false => Self::of_files(vec![TensorFile::open(whole)?]),
        }
    }

    fn open_shards(dir: &Path, index_path: &Path) -> Result<Self> {
        let wrong = |message: String| Error::input(format!("{}: {message}", index_path.display()));
        let index: ShardIndex = serde_json::from_slice(&read_file(index_path)?).map_err(|error| wrong(error.to_string()))?;
        let mut names: Vec<&String> = index.weight_map.values().collect();
        names.sort();
        names.dedup();
        if let Some(name) = names.iter().find(|name| !is_plain(name)) {
            return Err(wrong(format!("{name:?} names no file of the folder")));
        }
        let folder = Self::of_files(names.iter().map(|name| TensorFile::open(dir.join(name))).collect::<Result<_>>()?)?;
        match index.weight_map.keys().find(|name| !folder.places.contains_key(&parameter_name(name))) {
            Some(name) => Err(wrong(format!("tensor {name} is in none of the files")).hint("fetch the folder again")),
            None => Ok(folder),
        }
    }

    fn of_files(files: Vec<TensorFile>) -> Result<Self> {
        let mut places = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            for name_in_file in file.metadata.offset_keys() {
                let name = parameter_name(&name_in_file);
                if places.insert(name.clone(), Place { file: index, name_in_file }).is_some() {
                    return Err(
                        Error::input(format!("{}: tensor {name} is there twice", file.path.display())).hint("fetch the folder again")
                    );
                }
            }
        }
        Ok(Self { files, places })
    }

    /// The tensor `name`, if there is one.
    pub fn find<'a>(&'a self, name: &'a str) -> Option<StoredTensor<'a>> {
        let place = self.places.get(name)?;
        self.files.get(place.file)?.tensor(name, &place.name_in_file)
    }

    /// Our names of all tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// An error about the folder's weights as a whole.
    pub fn error(&self, message: String) -> Error {
        let path = self.files.first().map(|file| file.path.display().to_string()).unwrap_or_default();
        Error::input(format!("{path}: {message}"))
    }
}

/// One part, and that a name: no way out of the folder.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

impl TensorFile {
    fn open(path: PathBuf) -> Result<Self> {
        let map = Arc::new(MappedFile::open(&path)?);
        let (header_length, metadata) = SafeTensors::read_metadata(&map[..]).map_err(|error| {
            let message = format!("{} is no valid safetensors file: {error}", path.display());
            Error::input(message).hint("it may be cut short: fetch it again")
        })?;
        Ok(Self { path, map, metadata, data_start: HEADER_START + header_length })
    }

    fn tensor<'a>(&'a self, name: &'a str, name_in_file: &str) -> Option<StoredTensor<'a>> {
        let TensorInfo { dtype, shape, data_offsets } = self.metadata.info(name_in_file)?;
        let bytes = self.map[..].get(self.data_start..)?.get(data_offsets.0..data_offsets.1)?;
        let (path, encoding, file) = (&self.path, Encoding::Plain(*dtype), Some(&self.map));
        Some(StoredTensor { path, name, encoding, shape, bytes, file, interleaved: None })
    }
}
