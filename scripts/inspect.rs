//! `inspect`: what a model holds, in numbers. Owns the command line; the work is the library's.

use bitnet::cli::{ModelPlace, run_program};
use bitnet::inference::{Inspection, LoadOptions, StoredModel};
use bitnet::report::{model_view, stdout_has_colour, stdout_width};
use bitnet::ternary::threads::Threads;
use bitnet::{Error, Result};
use clap::Parser;
use std::io::{Write, stdout};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  inspect                        the newest checkpoint of the newest run
  inspect mine                   a run by id, unique prefix or path
  inspect models/blank-750M      a Hugging Face folder, latent or packed
  inspect mine --json            the same for programs; what a tensor does not have is null";

/// Shows a model's config, its tensors, and what the weight quantizer makes of each projection
#[derive(Debug, Parser)]
#[command(name = "inspect", version, after_help = EXAMPLES)]
struct Arguments {
    /// A model folder or file, a checkpoint, a run's id, a unique prefix of it or its path, or an id on the Hugging Face hub; the newest run
    /// when absent
    model: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Threads that read and quantize; all processors when absent
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    #[command(flatten)]
    place: ModelPlace,
}

fn main() -> ExitCode {
    run_program(|arguments| inspect(&arguments))
}

fn inspect(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.threads == Some(0) {
        return Err(Error::input("--threads 0: it must be 1 or more"));
    }
    let num_threads = arguments.threads.unwrap_or(LoadOptions::default().num_threads);
    let model = StoredModel::open(&arguments.place.find(arguments.model.as_deref())?)?;
    let inspection = Inspection::of(&model, &Threads::new(num_threads)?)?;
    match arguments.json {
        true => writeln!(stdout(), "{}", serde_json::to_string_pretty(&inspection)?)?,
        false => write!(stdout(), "{}", model_view(&inspection, stdout_width()).render(stdout_has_colour()))?,
    }
    Ok(ExitCode::SUCCESS)
}
