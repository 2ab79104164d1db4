//! How much memory a corpus takes on its way to token shards: writes one of the size asked for, prepares it, and prints the most
//! resident memory that the process ever had. The tokenizer is a cheap one, so that the way itself is what is seen.

use bitnet::data::documents::{BadRecords, DocumentSettings, Sources};
use bitnet::data::prepare::{Encode, Event, HeldOut, Outcome, PrepareSettings, Progress, UNIT_BYTES, prepare};
use bitnet::random::Random;
use bitnet::{Context, Error, Result};
use clap::{Parser, ValueEnum};
use std::fs::File;
use std::io::{BufWriter, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// The memory that a corpus of any size takes on its way to token shards
#[derive(Debug, Parser)]
#[command(name = "prepare_data", disable_help_subcommand = true)]
struct Arguments {
    /// Size of the corpus
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    gigabytes: f64,
    /// How it is written
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    /// Bytes of a document, about
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = clap::value_parser!(u64).range(1..))]
    document_bytes: u64,
    /// Threads that encode
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// Where corpus and shards are put, and removed afterwards [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Txt,
    Json,
    Jsonl,
}

const SEPARATOR: &str = "<|endoftext|>";
const VOCAB_SIZE: usize = 50_257;

/// An id for each word, by its letters.
struct Words;

impl Encode for Words {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let id = |word: &str| word.bytes().fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Ok(text.split_inclusive(' ').map(|word| (id(word) % VOCAB_SIZE as u64) as u32).collect())
    }

    fn vocab_size(&self) -> usize {
        VOCAB_SIZE
    }

    fn to_json(&self) -> Result<String> {
        Ok("{}".to_owned())
    }
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(stderr(), "error: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

fn measure(arguments: &Arguments) -> Result<()> {
    let dir = match &arguments.dir {
        Some(parent) => tempfile::tempdir_in(parent),
        None => tempfile::tempdir(),
    };
    let dir = dir.context(|| "making a temporary directory")?;
    let corpus = write_corpus(arguments, dir.path())?;
    let sources = Sources::find(&[corpus])?;
    let before = peak_memory_bytes();
    let start = Instant::now();
    let progress = prepare_corpus(arguments, &sources, &dir.path().join("prepared"))?;
    let seconds = start.elapsed().as_secs_f64();
    let megabytes = |bytes: Option<u64>| bytes.map_or("?".to_owned(), |bytes| format!("{:.0} MB", bytes as f64 / 1e6));
    let size = sources.num_bytes() as f64 / 1e6;
    writeln!(stdout(), "corpus       {size:.0} MB, {} documents, {} tokens", progress.documents, progress.tokens)?;
    writeln!(stdout(), "time         {seconds:.1} s, {:.0} MB/s with {} threads", size / seconds, arguments.threads)?;
    writeln!(stdout(), "peak memory  {} ({} before)", megabytes(peak_memory_bytes()), megabytes(before))?;
    Ok(())
}

fn write_corpus(arguments: &Arguments, dir: &Path) -> Result<PathBuf> {
    let (name, opening, between, closing) = match arguments.format {
        Format::Txt => ("corpus.txt", "", SEPARATOR, ""),
        Format::Json => ("corpus.json", "[", ",\n", "]"),
        Format::Jsonl => ("corpus.jsonl", "", "\n", "\n"),
    };
    let path = dir.join(name);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).context(|| format!("creating {}", path.display()))?);
    let size = (arguments.gigabytes * 1e9) as u64;
    let (mut written, mut number) = (0, 0);
    file.write_all(opening.as_bytes())?;
    while written < size {
        let text = document(number, arguments.document_bytes);
        let record = if matches!(arguments.format, Format::Txt) { text } else { serde_json::json!({ "text": text }).to_string() };
        let before = if number == 0 { "" } else { between };
        file.write_all(before.as_bytes())?;
        file.write_all(record.as_bytes())?;
        written += (before.len() + record.len()) as u64;
        number += 1;
    }
    file.write_all(closing.as_bytes())?;
    file.flush().context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// Words of two to nine letters.
fn document(number: u64, length: u64) -> String {
    let mut random = Random::derive(1, "document of a corpus", number);
    let mut text = String::with_capacity(length as usize + 10);
    while (text.len() as u64) < length {
        let mut bits = random.next_u64();
        for _ in 0..2 + bits % 8 {
            bits /= 26;
            text.push(char::from(b'a' + (bits % 26) as u8));
        }
        text.push(' ');
    }
    text
}

fn prepare_corpus(arguments: &Arguments, sources: &Sources, dir: &Path) -> Result<Progress> {
    let separator = matches!(arguments.format, Format::Txt).then(|| SEPARATOR.to_owned());
    let documents = DocumentSettings { text_field: "text".to_owned(), document_separator: separator, bad_records: BadRecords::Stop };
    let are_many = arguments.gigabytes * 1e9 / arguments.document_bytes as f64 > 1000.0;
    let held_out = if are_many { HeldOut::DocumentsPercent(1.0) } else { HeldOut::EndOfEachDocumentPercent(10.0) };
    let settings = PrepareSettings { documents, held_out, begin_with: None, end_with: Some(0), unit_bytes: UNIT_BYTES };
    let mut last = Progress::default();
    let mut watch = |event| {
        if let Event::Advanced(progress) = event {
            last = progress;
        }
    };
    match prepare(&settings, sources, &Words, dir, arguments.threads, &mut watch, &|| false)? {
        Outcome::Finished(_) => Ok(last),
        Outcome::Stopped => Err(Error::ours("it stopped, and nobody asked it to")),
    }
}

/// The most resident memory that this process ever had; Linux only.
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}
