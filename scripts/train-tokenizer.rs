//! `train-tokenizer`: makes a tokenizer.json from files of text. Owns the command line; the work is the library's.

use bitnet::cli::run_program;
use bitnet::config::BadRecords;
use bitnet::data::documents::{DocumentSettings, Documents, Sources};
use bitnet::error::counted;
use bitnet::storage::{DISK, FileSystem, create_dir_durably, write_atomically};
use bitnet::tokenizer::{BytePairOptions, BytePairTraining, Tokenizer};
use bitnet::{Context, Error, Result};
use clap::Parser;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

const EXAMPLES: &str = "\
Examples:
  train-tokenizer --data stories.txt --vocab-size 2048 -o tokenizer.json
  train-tokenizer --data a.jsonl b.jsonl --vocab-size 32000 --text-field content -o tokenizer.json
  train-tokenizer --data stories.txt --characters -o tokenizer.json

The path of the tokenizer is printed on stdout, what it is like on stderr.";

/// Bytes in a megabyte of --sample.
const MEGABYTE: u64 = 1_000_000;
/// Bytes of the documents that the tokenizer is tried on afterwards.
const TRIAL: usize = 4_000_000;

/// Makes a tokenizer.json from files of text: byte pairs that are often together, or the characters that are there
#[derive(Debug, Parser)]
#[command(name = "train-tokenizer", version, after_help = EXAMPLES)]
struct Arguments {
    /// Files and directories of .txt, .json, .jsonl and .parquet, each also as .gz or .zst
    #[arg(long, value_name = "FILE", required_unless_present = "completions", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Tokens in the end: 4 special ones, 256 bytes, and what is learned
    #[arg(long, value_name = "N", required_unless_present_any = ["characters", "completions"], conflicts_with = "characters")]
    vocab_size: Option<usize>,
    /// File to write
    #[arg(short, long, value_name = "FILE", required_unless_present = "completions")]
    output: Option<PathBuf>,
    /// Key of the text in a record; dots reach into objects
    #[arg(long, value_name = "KEY", default_value = "text")]
    text_field: String,
    /// What stands between the documents of a .txt file; without it a file is one document
    #[arg(long, value_name = "TEXT")]
    document_separator: Option<String>,
    /// Pass over records that hold no text, instead of stopping at the first; they are counted
    #[arg(long)]
    skip_bad_records: bool,
    /// Make each character that is there a token
    #[arg(long)]
    characters: bool,
    /// Pairs that are there less often are not joined
    #[arg(long, value_name = "N", default_value_t = 2)]
    min_frequency: u64,
    /// Megabytes of text to learn pairs from, at the beginning of the data
    #[arg(long, value_name = "MB", default_value_t = 100)]
    sample: u64,
    /// A special token beside <pad>, <bos>, <eos> and <unk>, such as `<|user|>`; may be repeated
    #[arg(long, value_name = "TOKEN", conflicts_with = "characters")]
    special_token: Vec<String>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

fn main() -> ExitCode {
    run_program(|arguments| train_tokenizer(&arguments))
}

fn train_tokenizer(arguments: &Arguments) -> Result<ExitCode> {
    let output = arguments.output.as_deref().unwrap_or(Path::new("tokenizer.json"));
    refuse_overwriting(output, arguments.force)?; // before the work
    refuse_no_text(arguments).and_then(|()| learn(arguments, output)).map_err(with_own_flags)?;
    writeln!(stdout(), "{}", output.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Learns the tokenizer, saves it at `output`, and says what it is like.
fn learn(arguments: &Arguments, output: &Path) -> Result<()> {
    let start = Instant::now();
    let tokenizer = match arguments.characters {
        true => Tokenizer::characters_of(texts(&mut documents(arguments)?))?,
        false => byte_pairs(arguments)?,
    };
    let seconds = start.elapsed().as_secs_f64();
    save(output, tokenizer.to_json()?.as_bytes())?;
    let bytes_per_token = bytes_per_token(&tokenizer, arguments)?;
    let tokens = counted(tokenizer.vocab_size() as u64, "token");
    writeln!(stderr(), "{tokens}, {bytes_per_token:.2} bytes per token, {seconds:.1} seconds")?;
    Ok(())
}

/// Files of which nothing is left teach nothing.
fn refuse_no_text(arguments: &Arguments) -> Result<()> {
    let mut documents = documents(arguments)?;
    documents.next().transpose()?.map(|_| ()).ok_or_else(|| documents.skipped().no_documents())
}

/// The library names the flags of an experiment, of which this program has its own short forms.
fn with_own_flags(error: Error) -> Error {
    const FLAGS: [(&str, &str); 3] = [
        ("--set data.text.text_field=", "--text-field "),
        ("--set data.text.bad_records=skip", "--skip-bad-records"),
        ("--set 'data.text.document_separator=", "--document-separator '"),
    ];
    match error.hint_text().map(|hint| FLAGS.iter().fold(hint.to_owned(), |hint, (theirs, own)| hint.replace(theirs, own))) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn byte_pairs(arguments: &Arguments) -> Result<Tokenizer> {
    let options = BytePairOptions {
        vocab_size: arguments.vocab_size.unwrap_or_default(),
        min_frequency: arguments.min_frequency,
        special_tokens: arguments.special_token.clone(),
        largest_sample: arguments.sample.saturating_mul(MEGABYTE),
    };
    let mut documents = documents(arguments)?;
    let training = Tokenizer::train_byte_pair(texts(&mut documents), &options)?;
    describe(&training)?;
    if documents.skipped().records > 0 {
        writeln!(stderr(), "skipped {}", documents.skipped())?;
    }
    Ok(training.tokenizer)
}

/// What was looked at, and what was not found in it.
fn describe(training: &BytePairTraining) -> Result<()> {
    let BytePairTraining { documents, text_bytes, is_cut, missing_tokens, .. } = training;
    let megabytes = *text_bytes as f64 / MEGABYTE as f64;
    let rest = if *is_cut { "; there is more than --sample, which was not looked at" } else { "" };
    writeln!(stderr(), "learned from {}, {megabytes:.2} MB{rest}", counted(*documents, "document"))?;
    if *missing_tokens > 0 {
        let missing = counted(*missing_tokens as u64, "token");
        writeln!(stderr(), "warning: the data have no more pairs to join: {missing} fewer than --vocab-size")?;
    }
    Ok(())
}

/// Over the first documents. A document that the tokenizer was not made from, behind the sample, is text like any other.
fn bytes_per_token(tokenizer: &Tokenizer, arguments: &Arguments) -> Result<f64> {
    let (mut num_bytes, mut num_tokens) = (0, 0);
    for text in texts(&mut documents(arguments)?) {
        let document = text?;
        for line in document.split_inclusive('\n') {
            num_bytes += line.len();
            num_tokens += tokenizer.encode(line)?.len();
        }
        if num_bytes > TRIAL {
            break;
        }
    }
    Ok(num_bytes as f64 / f64::max(num_tokens as f64, 1.0))
}

/// The texts of all documents, one after another.
fn texts(documents: &mut Documents) -> impl Iterator<Item = Result<String>> {
    documents.map(|document| Ok(document?.text))
}

fn documents(arguments: &Arguments) -> Result<Documents> {
    let (text_field, document_separator) = (arguments.text_field.clone(), arguments.document_separator.clone());
    let bad_records = if arguments.skip_bad_records { BadRecords::Skip } else { BadRecords::Stop };
    Documents::new(&Sources::find(&arguments.data)?, &DocumentSettings { text_field, document_separator, bad_records })
}

fn refuse_overwriting(output: &Path, is_allowed: bool) -> Result<()> {
    if is_allowed || !DISK.exists(output).context(|| format!("looking at {}", output.display()))? {
        return Ok(());
    }
    Err(Error::input(format!("{} is there already", output.display())).hint("--force replaces it"))
}

/// Whole or not at all. What cannot be written where the user asked for it is the user's to change.
fn save(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir_durably(&DISK, parent).and_then(|()| write_atomically(&DISK, path, content)).map_err(Error::blame_input)
}
