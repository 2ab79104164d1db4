//! `new-model`: writes a blank ternary model of a wanted size. Owns the command line and what a tokenizer.json says of itself; the shape and
//! the writing are the library's.

use bitnet::cli::run_program;
use bitnet::config::{ModelConfig, TokenIds};
use bitnet::libtorch::caught;
use bitnet::model::BlankModel;
use bitnet::storage::{DISK, read_capped};
use bitnet::{Error, Result};
use clap::Parser;
use serde_json::Value;
use std::io::{IsTerminal, Write, stderr, stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  new-model --params 750M                              into blank-750M, with a vocabulary of 32000
  new-model --params 5M                                small enough to train on a laptop
  new-model --params 1.3B -o mine --tokenizer tokenizer.json
  new-model --params 70B --dry-run                     its shape and size, nothing is written

The folder has latent float32 weights, to start a run from with train --init-from.";

const SMALLEST: f64 = 1e6;
const LARGEST: f64 = 70e9;
/// No tokenizer.json is near this size, in bytes.
const LARGEST_TOKENIZER: u64 = 128 << 20;
/// Names under which published tokenizers begin and end a text.
const BEGINNINGS: [&str; 4] = ["<bos>", "<s>", "<|begin_of_text|>", "<|endoftext|>"];
const ENDINGS: [&str; 4] = ["<eos>", "</s>", "<|end_of_text|>", "<|endoftext|>"];

/// Writes a blank ternary model of 1M to 70B parameters, in the proportions of the published ones
#[derive(Debug, Parser)]
#[command(name = "new-model", version, after_help = EXAMPLES)]
struct Arguments {
    /// Parameters in all, such as 5M, 750M or 1.3B; 1M to 70B. Asked for on a terminal when absent
    #[arg(long, value_name = "SIZE", value_parser = size)]
    params: Option<u64>,
    /// The folder to write; blank-<SIZE> when absent
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Rows of the embedding; as many as the tokenizer needs when absent; without one 32000, or fewer for a small model
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    vocab_size: Option<u32>,
    /// A tokenizer.json to put into the folder
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// Of the weights
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print shape and size, write nothing
    #[arg(long)]
    dry_run: bool,
}

/// A tokenizer.json and what the model's config takes from it.
struct TokenizerFile {
    content: Vec<u8>,
    size: usize,
    tokens: TokenIds,
}

fn main() -> ExitCode {
    run_program(|arguments| caught(|| new_model(&arguments)))
}

fn new_model(arguments: &Arguments) -> Result<ExitCode> {
    let tokenizer = arguments.tokenizer.as_deref().map(TokenizerFile::read).transpose()?;
    let num_parameters = arguments.params.map_or_else(ask, Ok)?;
    let config = ModelConfig::of_size(num_parameters, arguments.vocab_size(tokenizer.as_ref(), num_parameters)?)?;
    let (content, tokens) = tokenizer.as_ref().map_or((None, TokenIds::default()), |file| (Some(&*file.content), file.tokens));
    let blank = BlankModel { config: &config, tokenizer: content, tokens, seed: arguments.seed };
    describe(&blank);
    if arguments.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let dir = arguments.output.clone().unwrap_or_else(|| PathBuf::from(format!("blank-{}", short(num_parameters))));
    blank.write(&DISK, &dir)?;
    writeln!(stdout(), "{}", dir.display())?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn vocab_size(&self, tokenizer: Option<&TokenizerFile>, num_parameters: u64) -> Result<usize> {
        let needed = tokenizer.map_or(1, |file| file.size);
        match self.vocab_size {
            None if tokenizer.is_none() => Ok(ModelConfig::usual_vocabulary(num_parameters)),
            None => Ok(needed.next_multiple_of(64)),
            Some(rows) if rows as usize >= needed => Ok(rows as usize),
            Some(rows) => Err(Error::input(format!("--vocab-size {rows}: the tokenizer has {needed} tokens")).hint("leave it out")),
        }
    }
}

impl TokenizerFile {
    fn read(path: &Path) -> Result<Self> {
        let content = read_capped(&DISK, path, LARGEST_TOKENIZER).map_err(Error::blame_input)?;
        let wrong = |what: &str| Error::input(format!("{}: {what}", path.display())).hint("it has to be a tokenizer.json of Hugging Face");
        let json: Value = serde_json::from_slice(&content).map_err(|error| wrong(&format!("this is no JSON: {error}")))?;
        let added =
            json["added_tokens"].as_array().into_iter().flatten().filter_map(|token| Some((token["content"].as_str()?, id(&token["id"])?)));
        let listed =
            json["model"]["vocab"].as_object().into_iter().flatten().filter_map(|(token, value)| Some((token.as_str(), id(value)?)));
        let all: Vec<(&str, u32)> = added.chain(listed).collect();
        let largest = all.iter().map(|(_, id)| *id).max().ok_or_else(|| wrong("it lists no tokens"))?;
        let named = |names: [&str; 4]| names.iter().find_map(|name| all.iter().find(|(token, _)| token == name)).map(|(_, id)| *id);
        Ok(Self { size: largest as usize + 1, tokens: TokenIds { bos: named(BEGINNINGS), eos: named(ENDINGS) }, content })
    }
}

fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// 750M and 1.3B in words that people write, as a number.
fn size(text: &str) -> std::result::Result<u64, String> {
    let text = text.trim().to_uppercase();
    let (digits, unit) = match (text.strip_suffix('M'), text.strip_suffix('B')) {
        (Some(digits), _) => (digits, 1e6),
        (_, Some(digits)) => (digits, 1e9),
        _ => (text.as_str(), 1.0),
    };
    let size = digits.parse::<f64>().map_err(|_| "write it as 750M or 1.3B".to_string())? * unit;
    if (SMALLEST..=LARGEST).contains(&size) { Ok(size as u64) } else { Err("it must be 1M to 70B".to_string()) }
}

fn ask() -> Result<u64> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return Err(Error::input("no size is given").hint("--params 750M"));
    }
    loop {
        write!(stderr(), "How many parameters, from 1M to 70B? ")?;
        stderr().flush()?;
        let mut line = String::new();
        if stdin().read_line(&mut line)? == 0 {
            return Err(Error::input("no size is given").hint("--params 750M"));
        }
        match size(&line) {
            Ok(size) => return Ok(size),
            Err(rule) => writeln!(stderr(), "{}: {rule}", line.trim())?,
        }
    }
}

/// Shape and size, on stderr: stdout gets the folder's path.
fn describe(blank: &BlankModel<'_>) {
    let ModelConfig { hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, vocab_size, .. } =
        blank.config;
    let parameters = short(blank.config.num_parameters() as u64);
    let size = match blank.num_bytes() as f64 {
        bytes if bytes < 1e9 => format!("{:.0} MB", bytes / 1e6),
        bytes => format!("{:.1} GB", bytes / 1e9),
    };
    let _ = writeln!(
        stderr(),
        "{parameters} parameters: {num_hidden_layers} layers, width {hidden_size}, feed-forward {intermediate_size}, {num_attention_heads} heads, \
         {num_key_value_heads} of keys, vocabulary {vocab_size}; {size}"
    );
}

/// 750M, 1.3B.
fn short(count: u64) -> String {
    match count as f64 {
        count if count < 10e6 => format!("{:.1}M", count / 1e6).replace(".0M", "M"),
        count if count < 1e9 => format!("{:.0}M", count / 1e6),
        count => format!("{:.1}B", count / 1e9).replace(".0B", "B"),
    }
}
