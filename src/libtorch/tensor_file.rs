//! Tensors to and from safetensors files, under the names they have in Hugging Face's folders. Where such a file lies and how it is
//! made durable is the business of `run` and `storage`.

use crate::{Context, Error, Result};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::Path;
use tch::{Device, Kind, Tensor, no_grad};

/// A safetensors file to be written: its header, and the tensors in the order of their names.
pub struct TensorFile {
    header: Vec<u8>,
    tensors: Vec<Tensor>,
    size: u64,
}

impl TensorFile {
    /// A file of `tensors` with the metadata that transformers wants.
    pub fn new(tensors: impl IntoIterator<Item = (String, Tensor)>) -> Result<Self> {
        let sorted: BTreeMap<String, Tensor> = tensors.into_iter().collect();
        let shape = |tensor: &Tensor| tensor.size().iter().map(|&size| size as usize).collect();
        let (header, size) = tensor_file_header(sorted.iter().map(|(name, tensor)| (name.clone(), tensor.kind(), shape(tensor))))?;
        Ok(Self { header, tensors: sorted.into_values().collect(), size })
    }

    /// Bytes of the whole file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes the whole file; no more than one tensor is copied at a time.
    pub fn write_to(&self, writer: &mut dyn Write) -> Result<()> {
        writer.write_all(&self.header)?;
        for tensor in &self.tensors {
            writer.write_all(&tensor_bytes(tensor)?)?;
        }
        Ok(())
    }
}

/// What stands before the numbers of a safetensors file whose tensors follow in this order, and the bytes of the whole file; with the
/// metadata that transformers wants.
pub fn tensor_file_header(tensors: impl IntoIterator<Item = (String, Kind, Vec<usize>)>) -> Result<(Vec<u8>, u64)> {
    let (mut infos, mut end) = (Vec::new(), 0);
    for (name, kind, shape) in tensors {
        let start = end;
        end += shape.iter().product::<usize>() * kind.elt_size_in_bytes();
        infos.push((name, TensorInfo { dtype: dtype(kind)?, shape, data_offsets: (start, end) }));
    }
    let format = HashMap::from([("format".to_string(), "pt".to_string())]);
    let mut json = serde_json::to_vec(&Metadata::new(Some(format), infos)?)?;
    json.resize(json.len().next_multiple_of(8), b' '); // the data begin aligned
    let header = [&(json.len() as u64).to_le_bytes()[..], &json].concat();
    let size = (header.len() + end) as u64;
    Ok((header, size))
}

/// The numbers of a tensor as a safetensors file has them.
pub fn tensor_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
    Ok(bytes)
}

/// All tensors of a safetensors file, on the CPU, by name.
///
/// # Errors
/// The file is absent or is no safetensors file, or has a type that is not used here.
pub fn load_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes = fs::read(path).context(|| format!("reading {}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes).context(|| format!("{} is no valid safetensors file", path.display()))?;
    let place = |name: &str| format!("{}: tensor {name}", path.display());
    file.iter().map(|(name, view)| Ok((name.to_string(), tensor_of(&view).context(|| place(name))?))).collect()
}

/// Copies `tensors` into `parameters` of the same names.
///
/// # Errors
/// A parameter is missing in the file, or its shape or type differs; `source` names the file in the message.
pub fn restore_parameters(parameters: &BTreeMap<String, Tensor>, tensors: &BTreeMap<String, Tensor>, source: &Path) -> Result<()> {
    for (name, parameter) in parameters {
        let place = || format!("{}: tensor {name}", source.display());
        let tensor = tensors.get(name).ok_or_else(|| Error::input(format!("{} is missing", place())).hint(OTHER_MODEL))?;
        if tensor.size() != parameter.size() || tensor.kind() != parameter.kind() {
            let (found, wanted) = (describe(tensor), describe(parameter));
            return Err(Error::input(format!("{} is {found}, the model's is {wanted}", place())).hint(OTHER_MODEL));
        }
        no_grad(|| parameter.shallow_clone().f_copy_(tensor)).context(place)?;
    }
    Ok(())
}

const OTHER_MODEL: &str = "the file belongs to another model; compare its folder's config.json with the experiment's model section";

fn describe(tensor: &Tensor) -> String {
    format!("{:?} {:?}", tensor.kind(), tensor.size())
}

fn tensor_of(view: &safetensors::tensor::TensorView<'_>) -> Result<Tensor> {
    let kind = match view.dtype() {
        Dtype::F32 => Kind::Float,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F64 => Kind::Double,
        Dtype::I64 => Kind::Int64,
        Dtype::I8 => Kind::Int8,
        Dtype::U8 => Kind::Uint8,
        other => return Err(Error::input(format!("a tensor of type {other:?} is not used here"))),
    };
    let shape: Vec<i64> = view.shape().iter().map(|&size| size as i64).collect();
    Ok(Tensor::f_from_data_size(view.data(), &shape, kind)?)
}

fn dtype(kind: Kind) -> Result<Dtype> {
    match kind {
        Kind::Float => Ok(Dtype::F32),
        Kind::BFloat16 => Ok(Dtype::BF16),
        Kind::Double => Ok(Dtype::F64),
        Kind::Int64 => Ok(Dtype::I64),
        Kind::Int8 => Ok(Dtype::I8),
        Kind::Uint8 => Ok(Dtype::U8),
        other => Err(Error::ours(format!("tensors of type {other:?} are not saved"))),
    }
}
