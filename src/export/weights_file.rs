//! model.safetensors as an export has it: latent weights, or packed codes with their scales, in microsoft's layout or in that of the
//! kernels. Written tensor by tensor, so that a model may be larger than memory.

use super::options::{FloatType, WeightForm};
use crate::Result;
use crate::folder::scale_name;
use crate::inference::{NumberType, StoredModel, StoredParameter};
use crate::ternary::matrix::PackedMatrix;
use crate::ternary::packing::{num_packed_rows, pack};
use crate::ternary::threads::Threads;
use serde_json::{Map, json};
use std::cmp::Reverse;
use std::io::Write;

/// Projections that are quantized at a time, whatever the number of threads: each takes its float32 size in memory.
const MOST_AT_A_TIME: usize = 8;
/// Numbers begin at a multiple of this, so that those of a mapped file lie as those of memory do.
const PAGE_BYTES: usize = 4096;
/// Bytes before the header.
const LENGTH_BYTES: usize = 8;

/// A file to be written.
pub(super) struct WeightsFile<'a> {
    pub model: &'a StoredModel,
    pub form: WeightForm,
    threads: &'a Threads,
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
    Blocks,
    RowCodes,
    RowScales,
}

impl<'a> WeightsFile<'a> {
    /// Everything of `model`, with projections in `form`, to be quantized on `threads`.
    pub fn new(model: &'a StoredModel, form: WeightForm, float_type: FloatType, threads: &'a Threads) -> Result<Self> {
        let mut tensors: Vec<Tensor<'_>> = Vec::new();
        for parameter in model.parameters() {
            let mut add = |name: String, shape: Vec<usize>, content| tensors.push(Tensor { name, shape, parameter, content });
            let name = parameter.name.clone();
            match (form, parameter.shape.as_slice()) {
                (WeightForm::Packed, &[outputs, inputs]) if parameter.is_projection => {
                    add(scale_name(&name), vec![1], Content::Scale);
                    add(name, vec![num_packed_rows(outputs), inputs], Content::Codes);
                }
                (WeightForm::Blocks, &[outputs, inputs]) if parameter.is_projection => {
                    add(scale_name(&name), vec![1], Content::Scale);
                    add(name, PackedMatrix::block_shape(outputs, inputs).to_vec(), Content::Blocks);
                }
                (WeightForm::Blocks, &[rows, columns]) if is_int8(parameter, float_type) => {
                    add(scale_name(&name), vec![rows], Content::RowScales);
                    add(name, vec![rows, columns], Content::RowCodes);
                }
                (_, shape) => add(name, shape.to_vec(), Content::Floats(number_type(parameter, float_type))),
            }
        }
        // What is mapped first, which begins at a cache line if sizes are multiples of one; then wider numbers first, so that each lies at
        // a multiple of its width, as readers of others expect.
        let is_mapped = |tensor: &Tensor<'_>| form == WeightForm::Blocks && tensor.parameter.shape.len() == 2 && !tensor.content.is_scale();
        let rank = |tensor: &Tensor<'_>| {
            let content = tensor.content;
            (!is_mapped(tensor), content != Content::Blocks, content == Content::RowCodes, Reverse(content.width()), content.is_scale())
        };
        tensors.sort_by(|left, right| rank(left).cmp(&rank(right)).then_with(|| left.name.cmp(&right.name)));
        let (header, size) = header(&tensors, if form == WeightForm::Blocks { PAGE_BYTES } else { LENGTH_BYTES })?;
        Ok(Self { model, form, threads, tensors, header, size })
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

    /// The type of embedding and head.
    pub fn table_type(&self) -> NumberType {
        let is_table = |tensor: &&Tensor<'_>| tensor.parameter.shape.len() == 2 && !tensor.parameter.is_projection;
        match self.tensors.iter().find(is_table).map(|tensor| tensor.content) {
            Some(Content::RowCodes | Content::RowScales) => NumberType::Int8Rows,
            Some(Content::Floats(number_type)) => number_type,
            Some(Content::Scale | Content::Codes | Content::Blocks) | None => NumberType::Float32,
        }
    }

    /// Writes the whole file; of projections only a few are in memory at a time.
    ///
    /// # Errors
    /// The user's: damaged numbers, or projections that are quantized already. Ours: a failed write.
    pub fn write_to(&self, writer: &mut dyn Write) -> Result<()> {
        writer.write_all(&self.header)?;
        for tensors in self.tensors.chunk_by(|left, right| left.content == right.content) {
            match tensors[0].content {
                Content::Floats(number_type) => tensors
                    .iter()
                    .try_for_each(|tensor| self.model.read_bytes(tensor.parameter, number_type, |bytes| Ok(writer.write_all(bytes)?)))?,
                Content::Scale => {
                    self.write_made(tensors, writer, |parameter| Ok(self.model.scale(parameter)?.to_le_bytes().to_vec()))?;
                }
                Content::Blocks => {
                    self.write_made(tensors, writer, |parameter| Ok(self.model.packed_matrix(parameter)?.bytes().to_vec()))?;
                }
                Content::RowCodes => tensors.iter().try_for_each(|tensor| {
                    self.model.read_int8_rows(tensor.parameter, |codes, _| Ok(writer.write_all(bytemuck::cast_slice(codes))?))
                })?,
                Content::RowScales => tensors.iter().try_for_each(|tensor| {
                    self.model.read_int8_rows(tensor.parameter, |_, scale| Ok(writer.write_all(&scale.to_le_bytes())?))
                })?,
                Content::Codes => self.write_made(tensors, writer, |parameter| {
                    pack(&self.model.codes(parameter)?.codes, parameter.shape[0], parameter.shape[1])
                })?,
            }
        }
        Ok(())
    }

    /// Writes what `make` makes of each projection; several are quantized at a time.
    fn write_made(
        &self,
        tensors: &[Tensor<'_>],
        writer: &mut dyn Write,
        make: impl Fn(&StoredParameter) -> Result<Vec<u8>> + Sync,
    ) -> Result<()> {
        for some in tensors.chunks(self.threads.num_threads().min(MOST_AT_A_TIME)) {
            let mut made: Vec<Result<Vec<u8>>> = some.iter().map(|_| Ok(Vec::new())).collect();
            self.threads.for_each(some.iter().zip(&mut made), |(tensor, made)| {
                *made = make(tensor.parameter);
            });
            for bytes in made {
                writer.write_all(&bytes?)?;
            }
        }
        Ok(())
    }
}

/// Whether a table in the layout of the kernels becomes codes of 8 bits, or stays so.
fn is_int8(parameter: &StoredParameter, float_type: FloatType) -> bool {
    float_type == FloatType::Int8 || float_type == FloatType::AsStored && parameter.number_type == NumberType::Int8Rows
}

fn number_type(parameter: &StoredParameter, float_type: FloatType) -> NumberType {
    match float_type {
        FloatType::Float32 => NumberType::Float32,
        FloatType::Bfloat16 => NumberType::Bfloat16,
        FloatType::AsStored | FloatType::Int8 => match parameter.number_type {
            NumberType::Bfloat16 => NumberType::Bfloat16,
            NumberType::Float32 | NumberType::Float16 | NumberType::PackedCodes | NumberType::Int8Rows | NumberType::Blocks(_) => {
                NumberType::Float32
            }
        },
    }
}

impl Content {
    /// Bytes of a number, and what safetensors calls its type.
    fn number(self) -> (usize, &'static str) {
        match self {
            Self::Floats(NumberType::Bfloat16) => (2, "BF16"),
            Self::Floats(_) | Self::Scale | Self::RowScales => (4, "F32"),
            Self::Codes | Self::Blocks => (1, "U8"),
            Self::RowCodes => (1, "I8"),
        }
    }

    fn is_scale(self) -> bool {
        match self {
            Self::Scale | Self::RowScales => true,
            Self::Floats(_) | Self::Codes | Self::Blocks | Self::RowCodes => false,
        }
    }

    fn width(self) -> usize {
        self.number().0
    }
}

/// What stands before the numbers, which begin at a multiple of `alignment`, with the metadata that transformers wants; and the bytes of
/// the whole file.
fn header(tensors: &[Tensor<'_>], alignment: usize) -> Result<(Vec<u8>, u64)> {
    let mut entries = Map::from_iter([("__metadata__".to_owned(), json!({"format": "pt"}))]);
    let mut end = 0;
    for tensor in tensors {
        let (start, (width, type_name)) = (end, tensor.content.number());
        end += tensor.shape.iter().product::<usize>() * width;
        entries.insert(tensor.name.clone(), json!({"dtype": type_name, "shape": tensor.shape, "data_offsets": [start, end]}));
    }
    let mut json = serde_json::to_vec(&entries)?;
    json.resize((LENGTH_BYTES + json.len()).next_multiple_of(alignment) - LENGTH_BYTES, b' ');
    let size = (LENGTH_BYTES + json.len() + end) as u64;
    Ok(([&(json.len() as u64).to_le_bytes()[..], &json].concat(), size))
}
