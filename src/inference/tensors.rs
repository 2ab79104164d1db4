//! The tensors of a model folder by name, mapped from one safetensors file or several: which there are, their types and shapes, and their
//! numbers on demand. Every header is checked against its file before a number is read; what the names mean is the business of `weights`.

use super::number::{Bf16, Number, f16_to_f32};
use crate::config::parameter_name;
use crate::gguf::{self, TensorType};
use crate::storage::{DISK, MappedFile, read_capped};
use crate::ternary::bytes::SharedBytes;
use crate::{Error, Result};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Bytes of the largest list of shards that is read.
const LARGEST_INDEX: u64 = 64 << 20;
/// Where a safetensors file's header begins: behind its length.
const HEADER_START: usize = 8;

/// All tensors of a folder, under our names for them.
pub(super) struct TensorFolder {
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

/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As a safetensors file has them.
    Plain(Dtype),
    /// As a GGUF file has them.
    Blocks(TensorType),
}

/// One tensor where it lies.
#[derive(Clone, Copy)]
pub(super) struct StoredTensor<'a> {
    pub path: &'a Path,
    pub name: &'a str,
    pub encoding: Encoding,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
    /// The file that the bytes lie in, where they can stay there.
    pub file: Option<&'a Arc<MappedFile>>,
    /// Width of a head whose rows are interleaved, the first of either half, the second of either half, and so on; else none.
    pub interleaved: Option<usize>,
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
        let (whole, index) = (dir.join("model.safetensors"), dir.join("model.safetensors.index.json"));
        match index.is_file() && !whole.is_file() {
            true => Self::open_shards(dir, &index),
            false => Self::of_files(vec![TensorFile::open(whole)?]),
        }
    }

    fn open_shards(dir: &Path, index_path: &Path) -> Result<Self> {
        let bytes = read_capped(&DISK, index_path, LARGEST_INDEX).map_err(Error::blame_input)?;
        let wrong = |message: String| Error::input(format!("{}: {message}", index_path.display()));
        let index: ShardIndex = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
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

impl StoredTensor<'_> {
    /// An error about this tensor.
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::input(format!("{}: tensor {} {message}", self.path.display(), self.name))
    }

    /// The error of packed codes whose byte at `index` has bits that are none.
    pub fn no_code(&self, index: usize) -> Error {
        let byte = self.bytes.get(index).copied().unwrap_or_default();
        self.error(format!("byte {index} is {byte:#04x}, and bits 3 are no ternary code")).hint(super::weights::DAMAGED)
    }

    /// Refuses another shape than `[rows, columns]` or `[size]`.
    pub fn require_shape(&self, shape: &[usize]) -> Result<()> {
        match self.shape == shape {
            true => Ok(()),
            false => Err(self.error(format!("has shape {:?}, expected {shape:?}", self.shape)).hint(super::weights::OTHER_MODEL)),
        }
    }

    /// Whether it is bytes, which are packed codes.
    pub fn is_bytes(&self) -> bool {
        self.encoding == Encoding::Plain(Dtype::U8)
    }

    /// Whether it is ternary codes, four in a byte, as a safetensors file of others has them: `[ceil(rows / 4), columns]`.
    pub fn is_packed(&self) -> bool {
        self.is_bytes() && self.shape.len() == 2
    }

    /// Whether it is the blocks of a packed matrix: `[groups, blocks, bytes]`.
    pub fn is_packed_in_blocks(&self) -> bool {
        self.is_bytes() && self.shape.len() == 3
    }

    /// Whether it is codes of 8 bits, which have a scale a row.
    pub fn is_int8(&self) -> bool {
        self.encoding == Encoding::Plain(Dtype::I8)
    }

    /// Its bytes where they lie in the file, which stays mapped as long as they are used.
    ///
    /// # Errors
    /// Ours: they lie in no file that can be shared.
    pub fn mapped_bytes(&self) -> Result<SharedBytes> {
        let file = self.file.ok_or_else(|| Error::ours(format!("tensor {} is not mapped", self.name)))?;
        let start = self.bytes.as_ptr().addr() - file.as_ptr().addr();
        SharedBytes::of(Arc::clone(file) as _, start..start + self.bytes.len())
    }

    /// The type of block that its ternary codes are in; none where it has none.
    pub fn ternary_blocks(&self) -> Option<TensorType> {
        match self.encoding {
            Encoding::Blocks(kind) if kind.is_ternary() => Some(kind),
            _ => None,
        }
    }

    /// Whether its numbers are bfloat16.
    pub fn is_bfloat16(&self) -> bool {
        matches!(self.encoding, Encoding::Plain(Dtype::BF16) | Encoding::Blocks(TensorType::Bf16))
    }

    /// Refuses what [`Self::floats`] does not read.
    pub fn require_float(&self) -> Result<()> {
        match self.encoding {
            Encoding::Plain(Dtype::F32 | Dtype::BF16 | Dtype::F16) => Ok(()),
            Encoding::Blocks(kind) if gguf::has_floats(kind) => Ok(()),
            Encoding::Plain(dtype) => Err(self.error(format!("has type {dtype:?}, expected F32, BF16 or F16"))),
            Encoding::Blocks(kind) => Err(self.error(format!("has type {}, expected F32, F16, BF16, Q8_0, Q6_K or Q4_0", kind.name()))),
        }
    }

    /// Its numbers in float32.
    ///
    /// # Errors
    /// The user's: another type, or a number that is not finite.
    pub fn floats(&self) -> Result<Vec<f32>> {
        let mut numbers = vec![0.0; self.shape.iter().product()];
        self.read_floats(0, &mut numbers)?;
        Ok(numbers)
    }

    /// Fills `numbers` with those from position `start` on, in float32.
    ///
    /// # Errors
    /// As [`Self::floats`] has it.
    pub fn read_floats(&self, start: usize, numbers: &mut [f32]) -> Result<()> {
        self.require_float()?;
        match self.encoding {
            Encoding::Plain(Dtype::F32) => fill(numbers, self.bytes, start, f32::from_le_bytes),
            Encoding::Plain(Dtype::F16) => fill(numbers, self.bytes, start, |bytes| f16_to_f32(u16::from_le_bytes(bytes))),
            Encoding::Plain(_) => fill(numbers, self.bytes, start, |bytes| Bf16(u16::from_le_bytes(bytes)).to_f32()),
            Encoding::Blocks(kind) => gguf::read_floats(kind, self.bytes, start, numbers)?,
        }
        match numbers.iter().position(|number| !number.is_finite()) {
            Some(index) => Err(self.error(format!("holds {} at position {}", numbers[index], start + index)).hint("the file is damaged")),
            None => Ok(()),
        }
    }
}

fn fill<const WIDTH: usize>(numbers: &mut [f32], bytes: &[u8], start: usize, read: impl Fn([u8; WIDTH]) -> f32) {
    let (stored, _) = bytes.as_chunks::<WIDTH>();
    for (number, stored) in numbers.iter_mut().zip(&stored[start.min(stored.len())..]) {
        *number = read(*stored);
    }
}
