//! A model as one GGUF file, from codes and scales: nothing is quantized a second time. Which architecture and types a model gets is the
//! business of `plan`, the text side that of `text`.

mod plan;
mod text;

use crate::gguf::{Layout, Scaling, TensorType, Writer, append_codes, append_floats, tensor_name};
use crate::inference::{StoredModel, StoredParameter};
use crate::storage::{FileSystem, StreamedFile};
use crate::{Context, Error, Result};
use plan::Plan;
use std::io::Write;
use std::path::Path;

/// How projections are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ProjectionType {
    /// 1.69 bits a weight.
    #[value(name = "tq1_0")]
    Tq1_0,
    /// 2.06 bits a weight.
    #[value(name = "tq2_0")]
    Tq2_0,
    /// 2 bits a weight, for bitnet.cpp on x86.
    #[value(name = "i2_s")]
    I2S,
}

/// How embedding and head are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum EmbeddingType {
    /// IEEE half precision.
    #[default]
    F16,
    /// Four bytes a number.
    F32,
    /// The upper half of a float32.
    Bf16,
    /// 8 bits a number, and a scale for 32 of them.
    #[value(name = "q8_0")]
    Q8_0,
}

/// What a file is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GgufOptions {
    /// None for what runs the model in most programs.
    pub projections: Option<ProjectionType>,
    /// Of embedding and head.
    pub embedding: EmbeddingType,
    /// Where TQ1_0 and TQ2_0 have their scales; none for what loses nothing where llama.cpp reads that, in blocks elsewhere.
    pub scaling: Option<Scaling>,
}

/// What a person should know of a file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufExported {
    /// Bytes of the file.
    pub num_bytes: u64,
    /// `general.architecture`.
    pub architecture: &'static str,
    /// The type of the projections.
    pub projections: &'static str,
    /// What may surprise.
    pub warnings: Vec<String>,
}

impl From<ProjectionType> for TensorType {
    fn from(projections: ProjectionType) -> Self {
        match projections {
            ProjectionType::Tq1_0 => Self::Tq1_0,
            ProjectionType::Tq2_0 => Self::Tq2_0,
            ProjectionType::I2S => Self::I2S,
        }
    }
}

impl From<EmbeddingType> for TensorType {
    fn from(embedding: EmbeddingType) -> Self {
        match embedding {
            EmbeddingType::F16 => Self::F16,
            EmbeddingType::F32 => Self::F32,
            EmbeddingType::Bf16 => Self::Bf16,
            EmbeddingType::Q8_0 => Self::Q8_0,
        }
    }
}

/// Writes `model` as the GGUF file `output`, whole or not at all; what is there is replaced. One tensor is in memory at a time.
///
/// # Errors
/// The user's: a model that no architecture of GGUF files is, sizes that no whole blocks make, a number beyond a type. Ours: a failed write.
pub fn export_gguf(fs: &dyn FileSystem, model: &StoredModel, options: &GgufOptions, output: &Path) -> Result<GgufExported> {
    let plan = Plan::of(&model.config().model, options).map_err(|error| error.context(model.dir().display()))?;
    let mut layout = Layout::new();
    plan.add_metadata(&mut layout, output)?;
    let mut warnings = plan.warnings.clone();
    warnings.extend(text::add_text(&mut layout, model)?);
    for parameter in model.parameters() {
        plan.add_tensor(&mut layout, parameter)?;
    }
    let mut writer = Writer::begin(layout, StreamedFile::create(fs, output)?)?;
    for parameter in model.parameters() {
        write_parameter(&mut writer, model, &plan, parameter).context(|| format!("{}: {}", model.dir().display(), parameter.name))?;
    }
    let written = writer.finish()?.commit()?;
    let (architecture, projections) = (plan.architecture, plan.projections.name());
    Ok(GgufExported { num_bytes: written.bytes, architecture, projections, warnings })
}

fn write_parameter<W: Write>(writer: &mut Writer<W>, model: &StoredModel, plan: &Plan, parameter: &StoredParameter) -> Result<()> {
    let (name, kind) = (file_name(parameter)?, plan.kind_of(parameter));
    if !kind.is_ternary() {
        return writer.tensor_in_parts(&name, |part| {
            let (mut bytes, head) = (Vec::new(), plan.interleaved_head(parameter));
            model.read_floats(parameter, |numbers| {
                bytes.clear();
                match head {
                    Some(head) => append_floats(kind, &interleaved(numbers, head, parameter), &mut bytes)?,
                    None => append_floats(kind, numbers, &mut bytes)?,
                }
                part(&bytes)
            })
        });
    }
    let matrix = model.codes(parameter)?;
    let codes = match plan.interleaved_head(parameter) {
        Some(head) => interleaved(&matrix.codes, head, parameter),
        None => matrix.codes,
    };
    let (mut bytes, is_beside) = (Vec::new(), plan.has_scales_beside());
    append_codes(kind, &codes, if is_beside { 1.0 } else { matrix.scale }, &mut bytes)?;
    writer.tensor(&name, &bytes)?;
    match is_beside {
        true => writer.tensor(&scale_name(&name), &matrix.scale.to_le_bytes()),
        false => Ok(()),
    }
}

/// What the file calls a parameter.
fn file_name(parameter: &StoredParameter) -> Result<String> {
    tensor_name(&parameter.name).ok_or_else(|| Error::ours(format!("{} has no name in GGUF files", parameter.name)))
}

/// The scale beside the matrix `name`.
fn scale_name(name: &str) -> String {
    format!("{}.scale", name.trim_end_matches(".weight"))
}

/// The rows of each head by turns, one of its first half and one of its second: rotary positions of `llama` turn neighbours.
fn interleaved<T: Copy>(numbers: &[T], head: usize, parameter: &StoredParameter) -> Vec<T> {
    let inputs = parameter.shape.last().copied().unwrap_or(1);
    let mut ordered = Vec::with_capacity(numbers.len());
    for rows in numbers.chunks_exact(head * inputs) {
        let (first, second) = rows.split_at(head / 2 * inputs);
        first.chunks_exact(inputs).zip(second.chunks_exact(inputs)).for_each(|(first, second)| {
            ordered.extend_from_slice(first);
            ordered.extend_from_slice(second);
        });
    }
    ordered
}
