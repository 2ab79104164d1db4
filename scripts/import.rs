//! `import`: a model of any public layout as a folder of ours. Owns the command line; the work is the library's.

use bitnet::cli::{MODELS, ModelPlace, run_program};
use bitnet::export::{Layout, import_folder, layout_of, require_place};
use bitnet::folder::{CONFIG, WEIGHTS, WEIGHTS_INDEX};
use bitnet::inference::{LoadOptions, StoredModel};
use bitnet::report::bytes;
use bitnet::run::short_count;
use bitnet::storage::DISK;
use bitnet::ternary::threads::Threads;
use bitnet::{Error, Result};
use clap::Parser;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  import downloads/bitnet-b1.58-2B-4T          into models/bitnet-b1.58-2B-4T
  import downloads/bitnet_b1_58-3B -o models/3b --tokenizer tokenizer.json
  import mine.gguf                             into models/mine
  import microsoft/bitnet-b1.58-2B-4T          from the Hugging Face hub, into models/bitnet-b1.58-2B-4T
  import out -o models/other                   what export wrote

Understood are microsoft's folders with packed or master weights, those of 1bitLLM, HF1BitLLM and
Falcon-E, plain LLaMA, GGUF files, and ours. The new folder's path is printed on stdout, what was
found on stderr. Every command takes it; train --init-from does if it has latent weights.";

/// Takes a model in: checks it, and writes it as a folder that every other command accepts
#[derive(Debug, Parser)]
#[command(name = "import", version, after_help = EXAMPLES)]
struct Arguments {
    /// A model folder, a GGUF file, a checkpoint, a run, or an id on the Hugging Face hub
    #[arg(required_unless_present = "completions")]
    source: Option<String>,
    /// The folder to write; models/<name of the source> when absent
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// A tokenizer.json to take in place of the source's
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Replace a model folder that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    place: ModelPlace,
}

fn main() -> ExitCode {
    run_program(|arguments| import(&arguments))
}

fn import(arguments: &Arguments) -> Result<ExitCode> {
    let source = arguments.source.as_deref().unwrap_or_default();
    let hub_name = source.rsplit('/').next().filter(|_| arguments.place.is_on_hub(source));
    let named = arguments.output.clone().or_else(|| hub_name.map(|name| Path::new(MODELS).join(name)));
    if let (Some(output), false) = (&named, arguments.force) {
        // Before anything is fetched.
        require_place(&DISK, output, output, false)?;
    }
    let dir = folder_of(source, &arguments.place)?;
    let output = match named {
        Some(output) => output,
        None => Path::new(MODELS).join(name_of(&dir)?),
    };
    require_place(&DISK, &output, &dir, arguments.force)?;
    let model = StoredModel::open(&dir)?;
    let layout = layout_of(&model)?;
    let threads = Threads::new(LoadOptions::default().num_threads)?;
    let imported = import_folder(&DISK, &model, arguments.tokenizer.as_deref(), &threads, &output)?;
    for warning in &imported.warnings {
        writeln!(stderr(), "warning: {warning}")?;
    }
    tell(&model, layout, imported.num_bytes)?;
    writeln!(stdout(), "{}", output.display())?;
    Ok(ExitCode::SUCCESS)
}

/// That of the folder, or of the file without its ending.
fn name_of(source: &Path) -> Result<PathBuf> {
    let source = source.canonicalize()?;
    let name = if source.is_file() { source.file_stem() } else { source.file_name() };
    Ok(PathBuf::from(name.unwrap_or_default()))
}

/// A folder, a GGUF file, a run or an id on the hub.
fn folder_of(source: &str, place: &ModelPlace) -> Result<PathBuf> {
    let path = Path::new(source);
    let holds = |name: &str| path.join(name).is_file();
    let has_safetensors = holds(WEIGHTS) || holds(WEIGHTS_INDEX);
    if has_safetensors && !holds(CONFIG) {
        return Err(Error::input(format!("{source} has no config.json")).hint("fetch the folder again, with all of its files"));
    }
    if !has_safetensors && (holds("pytorch_model.bin") || holds("pytorch_model.bin.index.json")) {
        let hint = "load it with transformers, and save it with save_pretrained, which writes safetensors";
        return Err(Error::input(format!("{source} has its weights as pickles, which can run programs: none is read")).hint(hint));
    }
    if path.is_file() && path.extension().is_none_or(|extension| extension != "gguf") {
        return Err(Error::input(format!("{source} is a file, not a model folder")).hint("name the folder that holds config.json"));
    }
    place.find(Some(source))
}

/// What was found, and whether training can go on.
fn tell(model: &StoredModel, layout: Layout, num_bytes: u64) -> Result<()> {
    let config = &model.config().model;
    let size = short_count(config.num_parameters() as u64);
    let (layers, width, vocabulary) = (config.num_hidden_layers, config.hidden_size, config.vocab_size);
    let training = match (model.has_packed_codes(), layout) {
        (true, _) => "its latent weights are gone: it runs, but training cannot go on from it",
        (false, Layout::Llama) => "train --init-from it --set train.schedule.quantization_blend_steps=1000 makes it ternary",
        (false, _) => "training can go on from its latent weights",
    };
    writeln!(stderr(), "found: {}", layout.description())?;
    writeln!(stderr(), "shape: {size} parameters, {layers} layers, width {width}, vocabulary {vocabulary}; {}", bytes(num_bytes))?;
    writeln!(stderr(), "training: {training}")?;
    Ok(())
}
