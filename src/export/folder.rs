//! Writing a model folder: latent weights that transformers quantizes as it goes (`online`), or packed ones (`offline`); and the normal
//! form of a folder that came from elsewhere.

use super::card::{Card, LOSS_CURVE};
use super::options::{ExportOptions, FloatType, WeightForm};
use super::texts::{TextFile, example_prompt, text_files};
use super::transformers::{config_json, obstacle};
use super::weights_file::WeightsFile;
use crate::folder::{CONFIG, TOKENIZER, WEIGHTS};
use crate::inference::StoredModel;
use crate::storage::{FileSystem, NewFolder};
use crate::ternary::threads::Threads;
use crate::{Error, Result};
use std::path::Path;

/// What a person should know of a folder that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Bytes of the weights' file.
    pub num_bytes: u64,
    /// What may surprise.
    pub warnings: Vec<String>,
}

/// Writes `model` for others into the folder `output`, whole or not at all; what is there is replaced.
///
/// # Errors
/// The user's: latent weights are wanted of a model that is packed, or a model that transformers would compute differently; packed ones
/// of a model without quantized weights; damaged files. Ours: a failed write.
pub fn export_folder(fs: &dyn FileSystem, model: &StoredModel, options: &ExportOptions<'_>, output: &Path) -> Result<Exported> {
    let obstacle = obstacle(&model.config().model, options.form);
    refuse_impossible(model, options.form, obstacle.as_deref())?;
    let mut warnings = Vec::new();
    match (&obstacle, options.form) {
        (Some(obstacle), WeightForm::Latent | WeightForm::Packed) => warnings.push(format!("only bitnet computes this model; {obstacle}")),
        (Some(_), WeightForm::Blocks) | (None, _) => {}
    }
    if options.form == WeightForm::Latent && options.float_type == FloatType::Bfloat16 {
        warnings.push("latent weights are rounded to bfloat16, which changes some of their codes".to_owned());
    }
    if options.float_type == FloatType::Int8 {
        warnings.push("embedding and head are rounded to 8 bits, and a scale a row".to_owned());
    }
    let name = options.provenance.map(|provenance| provenance.run.id()).unwrap_or_else(|| name_of(model));
    let weights = WeightsFile::new(model, options.form, options.float_type, options.threads)?;
    let (table_type, obstacle) = (weights.table_type(), obstacle.as_deref());
    let mut files = text_files(model, None)?;
    let prompt = example_prompt(&files)?;
    let card = Card { name: &name, prompt: &prompt, model: &model.config().model, options, table_type, obstacle };
    files.push(("README.md".to_owned(), card.page().into_bytes()));
    files.extend(options.loss_curve.map(|picture| (LOSS_CURVE.to_owned(), picture.to_vec())));
    write_folder(fs, &weights, &mut files, output)?;
    warnings.extend(missing_tokenizer(&files));
    Ok(Exported { num_bytes: weights.size(), warnings })
}

/// Writes `model` in the normal form of this program into the folder `output`: latent weights stay latent, packed ones packed, with scales
/// that multiply. `tokenizer` is a tokenizer.json to be taken in place of the folder's.
///
/// # Errors
/// The user's: damaged files, weights that are quantized already. Ours: a failed write.
pub fn import_folder(
    fs: &dyn FileSystem,
    model: &StoredModel,
    tokenizer: Option<&Path>,
    threads: &Threads,
    output: &Path,
) -> Result<Exported> {
    let form = if model.has_packed_codes() { WeightForm::Packed } else { WeightForm::Latent };
    let mut files = text_files(model, tokenizer)?;
    let weights = WeightsFile::new(model, form, FloatType::AsStored, threads)?;
    write_folder(fs, &weights, &mut files, output)?;
    Ok(Exported { num_bytes: weights.size(), warnings: missing_tokenizer(&files).into_iter().collect() })
}

/// The name of the folder or the file.
fn name_of(model: &StoredModel) -> String {
    let path = model.dir().canonicalize().unwrap_or_else(|_| model.dir().to_owned());
    let name = if path.is_file() { path.file_stem() } else { path.file_name() };
    name.map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn refuse_impossible(model: &StoredModel, form: WeightForm, obstacle: Option<&str>) -> Result<()> {
    let place = model.dir().display();
    let is_quantized = model.config().model.bit_linear.weights.has_codes();
    match (form, obstacle) {
        (WeightForm::Latent, _) if model.has_packed_codes() => {
            let hint = "export the checkpoint that it was packed from, or take --to packed";
            Err(Error::input(format!("{place} is packed: its latent weights are gone")).hint(hint))
        }
        (WeightForm::Packed | WeightForm::Blocks, _) if !is_quantized => {
            let hint = "take --to huggingface, or train it with --set model.bit_linear.weights=ternary_absmean";
            Err(Error::input(format!("{place}: its weights are not quantized, so there are no codes to pack")).hint(hint))
        }
        (WeightForm::Latent, Some(obstacle)) => {
            let hint = "--to packed writes a folder that bitnet itself computes faithfully";
            Err(Error::input(format!("{place} cannot be exported for transformers: {obstacle}")).hint(hint))
        }
        _ => Ok(()),
    }
}

fn missing_tokenizer(files: &[TextFile]) -> Option<String> {
    let has_one = files.iter().any(|(name, _)| name == TOKENIZER);
    (!has_one).then(|| "there is no tokenizer.json, without which text cannot be read: put one into the folder".to_owned())
}

/// All files of a folder.
fn write_folder(fs: &dyn FileSystem, weights: &WeightsFile<'_>, files: &mut Vec<TextFile>, output: &Path) -> Result<()> {
    let config = config_json(weights.model.config(), weights.form, weights.type_name())?;
    files.push((CONFIG.to_owned(), serde_json::to_vec_pretty(&config)?));
    let folder = NewFolder::create(fs, output)?;
    folder.require_space(weights.size())?;
    for (name, content) in files.iter() {
        folder.write(name, |writer| Ok(writer.write_all(content)?))?;
    }
    folder.write(WEIGHTS, |writer| weights.write_to(writer))?;
    folder.commit()
}
