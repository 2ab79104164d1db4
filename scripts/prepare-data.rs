//! Turns the text of an experiment into token shards: fetches it where it is elsewhere, learns the tokenizer, tokenizes. Owns the command
//! line; the work is the library's.

use bitnet::cli::{overrides_from_here, run_program};
use bitnet::config::{Experiment, Overrides, TextSource, TokenizerConfig, load, resolve};
use bitnet::data::prepare::{Event, Outcome};
use bitnet::data::{Corpus, Fetched, Prepared};
use bitnet::error::counted;
use bitnet::report::{BytesProgress, bytes};
use bitnet::run::{RunDirectory, StopSignal, run_to_resume};
use bitnet::storage::DISK;
use bitnet::{Error, Result};
use clap::Parser;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

/// Bytes whose reading takes long enough to be announced.
const MUCH: u64 = 4 << 30;

#[path = "prepare-data/fetch.rs"]
mod fetch;

const EXAMPLES: &str = "\
Examples:
  prepare-data tinystories                               fetches the corpus, learns the tokenizer, tokenizes
  prepare-data tinystories --data stories.txt more/      text of your own: .txt .json .jsonl .parquet, also as .gz and .zst
  prepare-data baseline --data my.jsonl --tokenizer my/tokenizer.json
  prepare-data baseline --dry-run                        says what it would fetch and where it would go

The prepared directory is printed on stdout. Ctrl-C stops it; the same command goes on. All flags of `train` are taken, so that one
line serves both; those that only training knows change nothing here.";

/// Turns the text of an experiment into token shards
#[derive(Debug, Parser)]
#[command(name = "prepare-data", version, after_help = EXAMPLES)]
struct Arguments {
    /// An experiment's name, its directory, or a config.yaml
    #[arg(required_unless_present_any = ["completions", "resume"])]
    experiment: Option<PathBuf>,
    /// Say what would be done, then stop
    #[arg(long)]
    dry_run: bool,
    /// Threads that tokenize; one for each processor when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    #[command(flatten)]
    overrides: Overrides,
    /// As in train; with --resume, its config is taken
    #[arg(long, value_name = "ID", help_heading = "Flags of train")]
    run_id: Option<String>,
    /// As in train
    #[arg(long, help_heading = "Flags of train")]
    resume: bool,
    /// As in train
    #[arg(long = "continue", requires = "run_id", conflicts_with = "resume", help_heading = "Flags of train")]
    is_continued: bool,
    /// As in train
    #[arg(long, value_name = "DIR", default_value = "runs", help_heading = "Flags of train")]
    runs_dir: PathBuf,
}

fn main() -> ExitCode {
    run_program(|arguments: Arguments| prepare_data(&Arguments { overrides: overrides_from_here(arguments.overrides), ..arguments }))
}

fn prepare_data(arguments: &Arguments) -> Result<ExitCode> {
    let experiment = experiment(arguments)?;
    let corpus = Corpus::of(&experiment)?;
    let stop = StopSignal::listen()?;
    say(format_args!("{}\n\n{}\n", experiment.estimate(), described(&corpus)?));
    if let Ok(prepared) = corpus.open()
        && prepared.num_bytes() > MUCH
    {
        say(format_args!("comparing {} of tokens with their hashes", bytes(prepared.num_bytes())));
    }
    let is_stopped = || stop.requested().is_some();
    if let Some(prepared) = corpus.up_to_date(&is_stopped)? {
        return report(&prepared);
    }
    if is_stopped() {
        return stopped(&stop);
    }
    let Some(fetched) = fetched(&corpus, arguments.dry_run, &stop)? else { return stopped(&stop) };
    if arguments.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    match prepared(&corpus, &fetched, arguments, &stop)? {
        Outcome::Finished(prepared) => report(&prepared),
        Outcome::Stopped => stopped(&stop),
    }
}

fn experiment(arguments: &Arguments) -> Result<Experiment> {
    let config_of = |id: &String| RunDirectory::new(arguments.runs_dir.join(id)).config_path();
    match (&arguments.experiment, &arguments.run_id) {
        (experiment, id) if arguments.resume => {
            let name = experiment.as_ref().map(|path| load(path, &Overrides::default()).map(|named| named.experiment)).transpose()?;
            let run = run_to_resume(&DISK, &arguments.runs_dir, id.as_deref(), name.as_deref())?;
            load(run.config_path(), &arguments.overrides)
        }
        (_, Some(id)) if arguments.is_continued && config_of(id).is_file() => load(config_of(id), &arguments.overrides),
        (Some(experiment), _) => Ok(resolve(experiment, &arguments.overrides)?.experiment),
        (None, _) => Err(Error::input("no experiment is named").hint("such as: prepare-data tinystories")),
    }
}

/// What is read, by which tokenizer, and where it goes.
fn described(corpus: &Corpus) -> Result<String> {
    let source = match corpus.source() {
        TextSource::Files(files) => files.join(", "),
        TextSource::Hub(hub) => format!("{} of {} on the hub", hub.files.join(", "), hub.repository),
    };
    let tokenizer = match corpus.tokenizer() {
        TokenizerConfig::Characters => "its characters".to_owned(),
        TokenizerConfig::BytePair(pairs) => format!("{} byte pairs, learned from it", pairs.vocab_size),
        TokenizerConfig::File(path) => path.clone(),
        TokenizerConfig::Hub(name) => format!("that of {name} on the hub"),
    };
    Ok(format!("text       {source}\ntokenizer  {tokenizer}\nprepared   {}", corpus.directory()?.display()))
}

/// The files that are elsewhere, fetched; with `is_dry` only said. None: it was asked to stop.
use fetch::fetched;

fn prepared(corpus: &Corpus, fetched: &Fetched, arguments: &Arguments, stop: &StopSignal) -> Result<Outcome> {
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.map_or_else(available, usize::from);
    let mut progress = BytesProgress::new();
    let mut show = |event: Event| match event {
        Event::StartedOver { reason } => say(format_args!("starting over: {reason}")),
        Event::Advanced(at) => {
            let done = format!("{}, {}", counted(at.documents, "document"), counted(at.tokens, "token"));
            progress.advanced(at.bytes_read, at.bytes, &done);
        }
    };
    corpus.prepare(fetched, threads, &mut |note| say(format_args!("{note}")), &mut show, &|| stop.requested().is_some())
}

fn report(prepared: &Prepared) -> Result<ExitCode> {
    let manifest = prepared.manifest();
    manifest.held_out.iter().for_each(|held_out| say(format_args!("held out   {held_out}")));
    for (name, split) in [("train", &manifest.train), ("validation", &manifest.validation)] {
        let bytes_per_token = split.text_bytes as f64 / split.tokens.max(1) as f64;
        let (documents, tokens) = (counted(split.documents, "document"), counted(split.tokens, "token"));
        say(format_args!("{name:<11}{documents}, {tokens}, {bytes_per_token:.2} bytes a token"));
    }
    if manifest.skipped.records > 0 {
        say(format_args!("skipped    {}", manifest.skipped));
    }
    if manifest.skipped.without_field > 0 {
        say(format_args!("hint: --set data.text.text_field=NAME takes another field for the text"));
    }
    writeln!(stdout(), "{}", prepared.dir().display())?;
    Ok(ExitCode::SUCCESS)
}

fn stopped(stop: &StopSignal) -> Result<ExitCode> {
    say(format_args!("stopped; the same command goes on from here"));
    Ok(ExitCode::from(stop.requested().map_or(0, |reason| reason.exit_status())))
}

/// A line on stderr, where someone may read it.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(stderr(), "{line}");
}
