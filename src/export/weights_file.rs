//! model.safetensors as an export has it: latent weights, or packed codes with their scales in microsoft's layout. Written tensor by
//! tensor, so that a model may be larger than memory.

use super::WeightForm;
use crate::Result;
use crate::inference::{NumberType, StoredModel, StoredParameter};
use crate::ternary::packing::{num_packed_rows, pack};
use serde_json::{Map, json};
use std::io::Write;

/// The type of the numbers that are not packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum FloatType {
    /// float32 or bfloat16, whichever the source has; half precision becomes float32.
    #[default]
    AsStored,
    /// Four bytes a number.
    Float32,
    /// Two bytes a number; what is narrower than the source is rounded.
    Bfloat16,
}

/// A file to be written.
pub(super) struct WeightsFile<'a> {
    model: &'a StoredModel,
    tensors: Vec<Tensor<'a>>,
    header: Vec<u8>,
    size: u64,
}

struct Tensor<'a> {
    name: String,
    shape: Vec<usize>,
    parameter: &'a StoredParameter,
    content: Content,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Floats(NumberType),
    /// Always float32: rounded, it would be another model.
    Scale,
    Codes,
}

impl<'a> WeightsFile<'a> {
    /// Everything of `model`, with projections in `form`.
    pub fn new(model: &'a StoredModel, form: WeightForm, float_type: FloatType) -> Result<Self> {
        let mut tensors: Vec<Tensor<'_>> = Vec::new();
        for parameter in model.parameters() {
            let mut add = |name: String, shape: Vec<usize>, content| tensors.push(Tensor { name, shape, parameter, content });
            let name = parameter.name.clone();
            match (form, parameter.shape.as_slice()) {
                (WeightForm::Packed, &[outputs, inputs]) if parameter.is_projection => {
                    add(format!("{name}_scale"), vec![1], Content::Scale);
                    add(name, vec![num_packed_rows(outputs), inputs], Content::Codes);
                }
                (_, shape) => add(name, shape.to_vec(), Content::Floats(number_type(parameter, float_type))),
            }
        }
        // Wider numbers first, so that each lies at a multiple of its width, as readers expect.
        tensors.sort_by(|left, right| right.content.width().cmp(&left.content.width()).then_with(|| left.name.cmp(&right.name)));
        let (header, size) = header(&tensors)?;
        Ok(Self { model, tensors, header, size })
    }

    /// Bytes of the whole file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The type of what is not packed, as config.json names it: the wider one where there are two.
    pub fn type_name(&self) -> &'static str {
        let is_float32 = |tensor: &Tensor<'_>| tensor.content == Content::Floats(NumberType::Float32);
        if self.tensors.iter().any(is_float32) { "float32" } else { "bfloat16" }
    }

    /// Writes the whole file; never more than one projection is in memory.
    ///
    /// # Errors
    /// The user's: damaged numbers, or projections that are quantized already. Ours: a failed write.
    pub fn write_to(&self, writer: &mut dyn Write) -> Result<()> {
        writer.write_all(&self.header)?;
        for Tensor { parameter, shape, content, .. } in &self.tensors {
            match content {
                Content::Floats(number_type) => {
                    self.model.read_bytes(parameter, *number_type, |bytes| Ok(writer.write_all(bytes)?))?;
                }
                Content::Scale => writer.write_all(&self.model.codes(parameter)?.scale.to_le_bytes())?,
                Content::Codes => writer.write_all(&pack(&self.model.codes(parameter)?.codes, parameter.shape[0], shape[1])?)?,
            }
        }
        Ok(())
    }
}

fn number_type(parameter: &StoredParameter, float_type: FloatType) -> NumberType {
    match float_type {
        FloatType::Bfloat16 => NumberType::Bfloat16,
        FloatType::AsStored if parameter.number_type == NumberType::Bfloat16 => NumberType::Bfloat16,
        _ => NumberType::Float32,
    }
}

impl Content {
    /// Bytes of a number, and what safetensors calls its type.
    fn number(self) -> (usize, &'static str) {
        match self {
            Self::Floats(NumberType::Bfloat16) => (2, "BF16"),
            Self::Floats(_) | Self::Scale => (4, "F32"),
            Self::Codes => (1, "U8"),
        }
    }

    fn width(self) -> usize {
        self.number().0
    }
}

/// What stands before the numbers, with the metadata that transformers wants, and the bytes of the whole file.
fn header(tensors: &[Tensor<'_>]) -> Result<(Vec<u8>, u64)> {
    let mut entries = Map::from_iter([("__metadata__".to_owned(), json!({"format": "pt"}))]);
    let mut end = 0;
    for tensor in tensors {
        let (start, (width, type_name)) = (end, tensor.content.number());
        end += tensor.shape.iter().product::<usize>() * width;
        entries.insert(tensor.name.clone(), json!({"dtype": type_name, "shape": tensor.shape, "data_offsets": [start, end]}));
    }
    let mut json = serde_json::to_vec(&entries)?;
    json.resize(json.len().next_multiple_of(8), b' '); // the numbers begin aligned
    let size = (8 + json.len() + end) as u64;
    Ok(([&(json.len() as u64).to_le_bytes()[..], &json].concat(), size))
}
