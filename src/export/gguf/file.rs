//! A model as one GGUF file, from codes and scales: nothing is quantized a second time. Which architecture and types a model gets is left
//! to `plan`, the text side to `text`.

use super::options::GgufOptions;
use super::plan::{Plan, file_name, scale_name};
use super::text;
use crate::gguf::{Layout, Writer, append_codes, append_floats};
use crate::inference::{StoredModel, StoredParameter};
use crate::storage::{FileSystem, StreamedFile};
use crate::{Context, Result};
use std::io::Write;
use std::path::Path;

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
