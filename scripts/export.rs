//! `export`: a run or a model folder in the form that others load. Owns the command line; the work is the library's.

use bitnet::cli::{ModelPlace, run_program};
use bitnet::export::{
    EmbeddingType, ExportOptions, FloatType, GgufOptions, ProjectionType, Provenance, WeightForm, export_folder, export_gguf, require_place,
};
use bitnet::inference::{LoadOptions, StoredModel};
use bitnet::report::{Curve, PictureFormat, PlotOptions, XAxis, bytes, draw_picture};
use bitnet::run::LOSS_DECAY;
use bitnet::storage::{DISK, create_dir_durably};
use bitnet::ternary::threads::Threads;
use bitnet::{Error, Result};
use clap::{Parser, ValueEnum};
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  export mine --to huggingface -o out          latent weights, to load or train elsewhere
  export mine --to packed -o out               2 bits a weight
  export mine --to blocks --dtype int8 -o out  the same as our kernels read it: starts at once
  export models/mine --to huggingface --dtype bfloat16 -o out
  export --to packed -o out --force            the newest run, in place of an earlier export

transformers 4.52 and newer load what --to huggingface and --to packed write;
generate, chat, serve and inspect load all. The path of what was written is printed
on stdout; the licence in a folder's model card, README.md, is left for you to choose.";

/// How the loss curve in the model card is drawn.
const CURVE: PlotOptions = PlotOptions { x_axis: XAxis::Steps, smooth: LOSS_DECAY, is_log: false };

/// Writes a run's newest checkpoint, or any model folder, in the form that others load
#[derive(Debug, Parser)]
#[command(name = "export", version, after_help = EXAMPLES)]
struct Arguments {
    /// A model folder or file, a checkpoint, a run's id, a unique prefix of it or its path, or an id on the Hugging Face hub; the newest run
    /// when absent
    model: Option<String>,
    /// What is written: huggingface (a folder with latent weights), packed (one with 2 bits a weight), blocks (the same, to be mapped by
    /// this program alone) or gguf (a file)
    #[arg(long, value_name = "FORM", required_unless_present = "completions", hide_possible_values = true)]
    to: Option<Form>,
    /// The folder to write; of a GGUF file, the file or its folder
    #[arg(short, long, value_name = "PATH", required_unless_present = "completions")]
    output: Option<PathBuf>,
    /// Numbers that are not packed: as-stored, float32 or bfloat16; a run's are float32. For blocks also int8, which embedding and head
    /// become
    #[arg(long, value_name = "TYPE", default_value = "as-stored", hide_possible_values = true)]
    dtype: FloatType,
    /// Projections of a GGUF file: tq1_0, tq2_0 or i2_s; by the model when absent
    #[arg(long = "type", value_name = "TYPE", hide_possible_values = true)]
    projections: Option<ProjectionType>,
    /// Embedding and head of a GGUF file: f16, f32, bf16 or q8_0
    #[arg(long, value_name = "TYPE", default_value = "f16", hide_possible_values = true)]
    embedding: EmbeddingType,
    /// Replace what is there: a model folder or a GGUF file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: ModelPlace,
}

/// What is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// Latent weights in Hugging Face's layout, quantized as they are used (`online`)
    #[value(name = "huggingface")]
    HuggingFace,
    /// Packed codes and their scales in Hugging Face's layout (`offline`)
    Packed,
    /// Packed codes as the kernels read them
    Blocks,
    /// One file for llama.cpp or bitnet.cpp
    Gguf,
}

fn main() -> ExitCode {
    run_program(|arguments| export(&arguments))
}

fn export(arguments: &Arguments) -> Result<ExitCode> {
    let (Some(form), Some(output)) = (arguments.to, &arguments.output) else {
        return Err(Error::ours("--to and -o were not asked for"));
    };
    let form = match form {
        Form::HuggingFace => WeightForm::Latent,
        Form::Packed => WeightForm::Packed,
        Form::Blocks => WeightForm::Blocks,
        Form::Gguf => return export_file(arguments, output),
    };
    if arguments.projections.is_some() || arguments.embedding != EmbeddingType::F16 {
        return Err(Error::input("--type and --embedding are for GGUF files").hint("take --to gguf, or --dtype"));
    }
    if arguments.dtype == FloatType::Int8 && form != WeightForm::Blocks {
        let message = "--dtype int8 is for folders in the layout of our kernels";
        return Err(Error::input(message).hint("take --to blocks, or another --dtype"));
    }
    if !arguments.force {
        // Before anything is fetched.
        require_place(&DISK, output, output, false)?;
    }
    let dir = arguments.place.find(arguments.model.as_deref())?;
    require_place(&DISK, output, &dir, arguments.force)?;
    let model = StoredModel::open(&dir)?;
    let provenance = Provenance::of(&DISK, &dir)?;
    let loss_curve = provenance.as_ref().map(loss_curve).transpose()?.flatten();
    let options = ExportOptions {
        form,
        float_type: arguments.dtype,
        threads: &Threads::new(LoadOptions::default().num_threads)?,
        provenance: provenance.as_ref(),
        loss_curve: loss_curve.as_deref(),
    };
    let exported = export_folder(&DISK, &model, &options, output)?;
    warn(&exported.warnings)?;
    writeln!(stderr(), "{}: {} of weights", dir.display(), bytes(exported.num_bytes))?;
    writeln!(stdout(), "{}", output.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a GGUF file at `output`, or in it as a folder.
fn export_file(arguments: &Arguments, output: &Path) -> Result<ExitCode> {
    if arguments.dtype != FloatType::AsStored {
        return Err(Error::input("--dtype is for folders").hint("take --embedding, which is for GGUF files"));
    }
    let is_named = output.extension().is_some_and(|extension| extension == "gguf");
    let path = if is_named { output.to_owned() } else { output.join("model.gguf") };
    if path.exists() && !arguments.force {
        let message = format!("{} is there already", path.display());
        return Err(Error::input(message).hint("name another file with -o, or replace it with --force"));
    }
    let dir = arguments.place.find(arguments.model.as_deref())?;
    let model = StoredModel::open(&dir)?;
    if !is_named {
        create_dir_durably(&DISK, output)?;
    }
    let options = GgufOptions { projections: arguments.projections, embedding: arguments.embedding, scaling: None };
    let exported = export_gguf(&DISK, &model, &options, &path)?;
    warn(&exported.warnings)?;
    let (size, projections, architecture) = (bytes(exported.num_bytes), exported.projections, exported.architecture);
    writeln!(stderr(), "{}: {size}, projections in {projections}, architecture {architecture}", dir.display())?;
    writeln!(stdout(), "{}", path.display())?;
    Ok(ExitCode::SUCCESS)
}

fn warn(warnings: &[String]) -> Result<()> {
    warnings.iter().try_for_each(|warning| Ok(writeln!(stderr(), "warning: {warning}")?))
}

/// The picture of the run's loss; none before its first step.
fn loss_curve(provenance: &Provenance) -> Result<Option<Vec<u8>>> {
    let curve = Curve::read(&DISK, &provenance.run, CURVE.x_axis, CURVE.smooth)?;
    let has_steps = !curve.raw.is_empty();
    has_steps.then(|| draw_picture(&[curve], CURVE, PictureFormat::Png)).transpose()
}
