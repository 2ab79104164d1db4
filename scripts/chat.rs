//! Continues prompts with a run's newest whole checkpoint, token by token.

use bitnet::config::{DeviceChoice, Precision};
use bitnet::libtorch::caught;
use bitnet::model::{LoadedModel, Sampler, SamplingOptions, generate, select_device};
use bitnet::report::{run_binary, without_controls, write_completions};
use bitnet::run::{RunDirectory, find_run};
use bitnet::storage::DISK;
use bitnet::{Context, Error, Result};
use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use std::io::{BufRead, IsTerminal, Write, stderr, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  chat                                    the newest run
  chat mine                               a run by id, unique prefix or path
  chat runs/mine/checkpoints/step-002000  one checkpoint
  echo '25 + 17 =' | chat mine            a prompt a line, an answer a line
  chat mine --temperature 0.8 --top-p 0.95 --seed 7

Type a prompt such as `25 + 17 =`; Ctrl-D or Ctrl-C leaves.";

/// Continues prompts with a run's newest whole checkpoint
#[derive(Debug, Parser)]
#[command(name = "chat", version, after_help = EXAMPLES)]
struct Arguments {
    /// A run's id, a unique prefix of it, its path, or a checkpoint's; the newest run when absent
    run: Option<String>,
    /// Divides the logits; 0 takes the likeliest token always
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f64,
    /// Only the likeliest so many tokens are candidates; 0 means all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Only the likeliest tokens whose probabilities together reach this are candidates
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f64,
    /// Of the random choice
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// At most so many tokens are added
    #[arg(long, value_name = "N", default_value_t = 32)]
    max_new_tokens: usize,
    /// Where the model runs
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,
    /// Where runs lie
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs_dir: PathBuf,
    /// Print a completion script for this shell, then stop
    #[arg(long, value_name = "SHELL", exclusive = true)]
    completions: Option<Shell>,
}

fn main() -> ExitCode {
    run_binary(|| caught(|| chat(Arguments::parse())))
}

fn chat(arguments: Arguments) -> Result<ExitCode> {
    if let Some(shell) = arguments.completions {
        return write_completions(shell, &mut Arguments::command());
    }
    let options =
        SamplingOptions { temperature: arguments.temperature, top_k: arguments.top_k, top_p: arguments.top_p, seed: arguments.seed };
    options.validate()?;
    let (folder, precision) = model_folder(&arguments)?;
    let model = LoadedModel::load(&folder, select_device(arguments.device)?, precision)?;
    let is_interactive = stdin().is_terminal();
    if is_interactive {
        writeln!(stderr(), "{}; type a prompt, Ctrl-D leaves", folder.display())?;
    }
    let mut sampler = Sampler::new(options);
    loop {
        if is_interactive {
            write!(stderr(), "> ")?;
        }
        let mut line = String::new();
        if stdin().lock().read_line(&mut line).context(|| "reading the prompt").map_err(Error::blame_input)? == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        let prompt = line.trim_end_matches(['\n', '\r']);
        if prompt.is_empty() {
            continue;
        }
        match answer(&model, prompt, arguments.max_new_tokens, &mut sampler) {
            Err(error) if is_interactive && error.io_kind().is_none() => writeln!(stderr(), "error: {error}")?,
            answered => answered?,
        }
    }
}

/// Writes the prompt and its continuation, as it comes.
fn answer(model: &LoadedModel, prompt: &str, max_new_tokens: usize, sampler: &mut Sampler) -> Result<()> {
    let ids = model.tokenizer.encode(prompt)?;
    let is_terminal = stdout().is_terminal();
    let mut out = stdout().lock();
    write!(out, "{prompt}")?;
    let mut failure = None;
    let mut stream = model.tokenizer.stream();
    let shown = |text: String| if is_terminal { without_controls(&text) } else { text };
    generate(&model.decoder, &ids, model.config.max_position_embeddings, max_new_tokens, sampler, |id| {
        let is_last = model.endings.contains(&id);
        if !is_last {
            failure = write!(out, "{}", shown(stream.push(id))).and_then(|()| out.flush()).err();
        }
        !is_last && failure.is_none()
    })?;
    failure.map_or(Ok(()), |error| Err(Error::from(error)))?;
    Ok(writeln!(out, "{}", shown(stream.finish()))?)
}

/// The checkpoint's folder, and the precision that it was trained in.
fn model_folder(arguments: &Arguments) -> Result<(PathBuf, Precision)> {
    if let Some(path) = arguments.run.as_deref().map(Path::new).filter(|path| path.join("model.safetensors").is_file()) {
        return Ok((path.to_path_buf(), precision_of(path)?));
    }
    let run = find_run(&DISK, &arguments.runs_dir, arguments.run.as_deref())?;
    Ok((run.newest_checkpoint(&DISK)?.path().to_path_buf(), run.read_config()?.precision))
}

/// The precision of the run that the checkpoint `folder` is part of; float32 for a folder of its own.
fn precision_of(folder: &Path) -> Result<Precision> {
    let run = folder.canonicalize()?.ancestors().nth(2).map(RunDirectory::new);
    match run.filter(|run| run.config_path().is_file()) {
        Some(run) => Ok(run.read_config()?.precision),
        None => Ok(Precision::Float32),
    }
}
