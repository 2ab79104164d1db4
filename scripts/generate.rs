//! `generate`: a prompt's continuation by the packed engine, without libtorch: text on stdout as it comes, speed and memory on stderr. Owns
//! the command line; the engine is the library's.

use bitnet::cli::{ModelArguments, SamplingArguments, run_program};
use bitnet::inference::{Engine, LogProbabilities, Piece, SamplingOptions, Summary, generate};
use bitnet::report::{peak_memory_bytes, without_controls};
use bitnet::run::StopSignal;
use bitnet::{Context, Error, Result};
use clap::Parser;
use serde_json::{Value, json};
use std::io::{IsTerminal, Read, Write, stderr, stdin, stdout};
use std::path::Path;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  generate --prompt 'Once upon a time'                       the newest run
  generate mine --prompt '25 + 17 ='                         a run by id, unique prefix or path
  generate models/bitnet-b1.58-2B-4T --prompt Hello          a Hugging Face folder, latent or packed
  generate --model mine < prompt.txt                         the same; a prompt from a file
  generate --temperature 0.5 --top-p 0.95 --seed 7 --max-new-tokens 200 --prompt 'Once upon a time'
  generate mine --temperature 0 --prompt '25 + 17 ='         the likeliest token always
  generate --prompt 'Q: 7 * 6? A:' --stop Q: --json          one JSON object, for programs
  generate --prompt 'Once upon a time' --json --log-probabilities 5

Ctrl-C ends the text; a second one ends at once.";

/// Tokens of a prompt that are read at a time.
const TOKENS_AT_A_TIME: usize = 256;

/// Continues a prompt with the packed ternary engine
#[derive(Debug, Parser)]
#[command(name = "generate", version, after_help = EXAMPLES)]
struct Arguments {
    /// A model folder or file, a checkpoint, a run's id, a unique prefix of it or its path, or an id on the Hugging Face hub; the newest run
    /// when absent
    #[arg(value_name = "MODEL", conflicts_with = "named")]
    model: Option<String>,
    /// The same
    #[arg(long = "model", value_name = "MODEL")]
    named: Option<String>,
    /// What is continued; read from standard input when absent
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// At most so many tokens are added
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_new_tokens: usize,
    #[command(flatten)]
    sampling: SamplingArguments,
    #[command(flatten)]
    loading: ModelArguments,
    /// Print one JSON object at the end instead of text
    #[arg(long)]
    json: bool,
    /// Of each token the log-probability, and those of the likeliest N beside it, in the JSON object
    #[arg(long, value_name = "N", requires = "json")]
    log_probabilities: Option<usize>,
}

fn main() -> ExitCode {
    run_program(|arguments| continue_prompt(&arguments))
}

fn continue_prompt(arguments: &Arguments) -> Result<ExitCode> {
    arguments.sampling.validate()?;
    let load_options = arguments.loading.load_options()?;
    let folder = arguments.loading.find(arguments.model.as_deref().or(arguments.named.as_deref()))?;
    let prompt = arguments.prompt()?;
    let engine = Engine::load(&folder, &load_options)?;
    let ids = engine.encode_prompt(&prompt)?;
    let mut text = Shown {
        is_json: arguments.json,
        is_terminal: stdout().is_terminal(),
        text: String::new(),
        tokens: Vec::new(),
        log_probabilities: Vec::new(),
    };
    let mut options = arguments.sampling.options(arguments.max_new_tokens, &engine.sampling)?;
    options.num_log_probabilities = arguments.log_probabilities;
    let sampling = options.sampling;
    engine.check_prompt(&ids)?; // before a word of it is written
    if !arguments.json {
        write!(stdout(), "{prompt}")?;
    }
    let stop = StopSignal::listen()?;
    let mut workspace = engine.model.new_workspace(ids.len().min(TOKENS_AT_A_TIME));
    let summary = generate(&engine, &ids, options, &mut workspace, &|| stop.requested().is_some(), |piece| text.add(piece))?;
    match arguments.json {
        true => writeln!(stdout(), "{}", text.report(&folder, &prompt, &summary, arguments.log_probabilities.is_some()))?,
        false => writeln!(stdout())?,
    }
    write_speed(&summary, &sampling)?;
    Ok(ExitCode::SUCCESS)
}

/// What has come so far.
struct Shown {
    is_json: bool,
    is_terminal: bool,
    text: String,
    tokens: Vec<u32>,
    log_probabilities: Vec<LogProbabilities>, // of each token, if they were asked for
}

impl Shown {
    fn add(&mut self, piece: &Piece) -> Result<()> {
        self.text += &piece.text;
        self.tokens.push(piece.token);
        self.log_probabilities.extend(piece.log_probabilities.clone());
        if !self.is_json && !piece.text.is_empty() {
            let shown = if self.is_terminal { without_controls(&piece.text) } else { piece.text.clone() };
            write!(stdout(), "{shown}")?;
            stdout().flush()?;
        }
        Ok(())
    }

    fn report(&self, folder: &Path, prompt: &str, summary: &Summary, is_wanted: bool) -> Value {
        let top = |found: &LogProbabilities| -> Vec<Value> {
            found.top.iter().map(|one| json!({"token": one.token, "log_probability": one.log_probability})).collect()
        };
        let mut report = json!({
            "model": folder,
            "prompt": prompt,
            "text": self.text,
            "tokens": self.tokens[..summary.num_tokens],
            "ending": summary.ending.name(),
            "num_prompt_tokens": summary.num_prompt_tokens,
            "num_tokens": summary.num_tokens,
            "prompt_seconds": summary.prompt_time.as_secs_f64(),
            "generation_seconds": summary.generation_time.as_secs_f64(),
            "peak_memory_bytes": peak_memory_bytes(),
        });
        if is_wanted {
            let of_token = |found: &LogProbabilities| json!({"log_probability": found.chosen, "top": top(found)});
            report["log_probabilities"] = self.log_probabilities.iter().map(of_token).collect();
        }
        report
    }
}

impl Arguments {
    fn prompt(&self) -> Result<String> {
        if let Some(prompt) = &self.prompt {
            return Ok(prompt.clone());
        }
        let mut prompt = String::new();
        stdin().lock().read_to_string(&mut prompt).context(|| "reading the prompt").map_err(Error::blame_input)?;
        Ok(prompt.trim_end_matches(['\n', '\r']).to_owned())
    }
}

/// Tokens a second, and the most memory that was taken.
fn write_speed(summary: &Summary, sampling: &SamplingOptions) -> Result<()> {
    let Summary { num_prompt_tokens, num_tokens, prompt_time, generation_time, ending } = summary;
    let speed = |count: usize, seconds: f64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    let prompt_speed = speed(*num_prompt_tokens, prompt_time.as_secs_f64());
    // The first token comes with the prompt.
    let token_speed = speed(num_tokens.saturating_sub(1), generation_time.as_secs_f64());
    let memory = peak_memory_bytes().map_or_else(String::new, |bytes| format!("; {:.2} GB of memory", bytes as f64 / 1e9));
    let ending = ending.name();
    writeln!(
        stderr(),
        "prompt: {num_prompt_tokens} tokens, {prompt_speed:.1} a second; text: {num_tokens} tokens, {token_speed:.1} a second ({ending}); temperature {}{memory}",
        sampling.temperature
    )?;
    Ok(())
}
