//! How much memory and time a corpus takes on its way to token shards: writes one of the size asked for, prepares it, and prints the most
//! resident memory that the process ever had. Without `--tokenizer` words are hashed to ids, so that the way itself is what is seen;
//! with it the time is held against the `tokenizers` library's own batch encoding of the same documents in memory, by turns.

use bitnet::data::documents::{BadRecords, DocumentSettings, Documents, Sources};
use bitnet::data::prepare::{Encode, Event, HeldOut, Outcome, PrepareSettings, Progress, UNIT_BYTES, prepare};
use bitnet::data::read_tokenizer;
use bitnet::random::Random;
use bitnet::report::peak_memory_bytes;
use bitnet::{Context, Error, Result};
use clap::{Parser, ValueEnum};
use std::fs::{self, File};
use std::io::{BufWriter, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// The memory and time that a corpus of any size takes on its way to token shards
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
    /// Take its documents from this text, over and over, instead of making words up
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Tokenize with this tokenizer.json
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
    /// So many times by turns with the batch encoding of the `tokenizers` library, which takes a multiple of the corpus in memory
    #[arg(long, value_name = "N", default_value_t = 0, requires = "tokenizer")]
    compare: usize,
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
    let tokenizer: Box<dyn Encode> = match &arguments.tokenizer {
        Some(path) => Box::new(read_tokenizer(path)?),
        None => Box::new(Words),
    };
    let before = peak_memory_bytes();
    let prepared = || prepare_corpus(arguments, &sources, &*tokenizer, &dir.path().join("prepared"));
    let (progress, seconds) = timed(prepared)?;
    let megabytes = |bytes: Option<u64>| bytes.map_or("?".to_owned(), |bytes| format!("{:.0} MB", bytes as f64 / 1e6));
    let size = sources.num_bytes() as f64 / 1e6;
    writeln!(stdout(), "corpus       {size:.0} MB, {} documents, {} tokens", progress.documents, progress.tokens)?;
    writeln!(stdout(), "time         {seconds:.1} s, {:.1} MB/s with {} threads", size / seconds, arguments.threads)?;
    writeln!(stdout(), "peak memory  {} ({} before)", megabytes(peak_memory_bytes()), megabytes(before))?;
    match &arguments.tokenizer {
        Some(path) if arguments.compare > 0 => compare(arguments, &sources, path, &prepared),
        _ => Ok(()),
    }
}

/// From the files to the shards, and from documents in memory to ids in memory, in turn.
fn compare(arguments: &Arguments, sources: &Sources, tokenizer: &Path, prepared: &dyn Fn() -> Result<Progress>) -> Result<()> {
    let texts = Documents::new(sources, &documents_of(arguments))?.map(|document| Ok(document?.text)).collect::<Result<Vec<String>>>()?;
    let library = tokenizers::Tokenizer::from_file(tokenizer).map_err(Error::input)?;
    let in_memory = || {
        let encodings = library.encode_batch_fast(texts.iter().map(String::as_str).collect(), false).map_err(Error::input)?;
        Ok(encodings.iter().map(|encoding| encoding.get_ids().len() as u64).sum::<u64>())
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..arguments.compare {
        let (progress, seconds) = timed(prepared)?;
        ours.push(seconds);
        let (tokens, seconds) = timed(in_memory)?;
        theirs.push(seconds);
        let added = progress.documents; // the token behind each document
        if tokens + added != progress.tokens {
            return Err(Error::ours(format!("{tokens} tokens in memory and {added} ends are not the {} in the shards", progress.tokens)));
        }
    }
    let (ours, theirs) = (median(ours), median(theirs));
    writeln!(stdout(), "prepare      {ours:.2} s (median of {})", arguments.compare)?;
    writeln!(stdout(), "tokenizers   {theirs:.2} s, batch encoding in memory")?;
    writeln!(stdout(), "ratio        {:.2}", ours / theirs)?;
    Ok(())
}

fn timed<T>(work: impl Fn() -> Result<T>) -> Result<(T, f64)> {
    let start = Instant::now();
    let done = work()?;
    Ok((done, start.elapsed().as_secs_f64()))
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn write_corpus(arguments: &Arguments, dir: &Path) -> Result<PathBuf> {
    let (name, opening, between, closing) = match arguments.format {
        Format::Txt => ("corpus.txt", "", SEPARATOR, ""),
        Format::Json => ("corpus.json", "[", ",\n", "]"),
        Format::Jsonl => ("corpus.jsonl", "", "\n", "\n"),
    };
    let given = arguments.text.as_ref().map(|path| fs::read_to_string(path).context(|| format!("reading {}", path.display())));
    let given = given.transpose()?;
    let path = dir.join(name);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).context(|| format!("creating {}", path.display()))?);
    let size = (arguments.gigabytes * 1e9) as u64;
    let (mut written, mut number) = (0, 0);
    file.write_all(opening.as_bytes())?;
    while written < size {
        let text = match &given {
            Some(text) => part(text, number * arguments.document_bytes, arguments.document_bytes as usize),
            None => document(number, arguments.document_bytes),
        };
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

/// About `length` bytes from byte `start` on of `text` without end, with no mark of a document's end in them.
fn part(text: &str, start: u64, length: usize) -> String {
    let mut start = (start % text.len().max(1) as u64) as usize;
    let mut part = String::with_capacity(length + 8);
    while part.len() < length {
        let rest = &text[boundary(text, start)..];
        part.push_str(&rest[..boundary(rest, length - part.len())]);
        start = 0;
    }
    part.replace(SEPARATOR, "\n")
}

/// The first character of `text` that begins at byte `at` or later.
fn boundary(text: &str, at: usize) -> usize {
    (at..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
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

fn documents_of(arguments: &Arguments) -> DocumentSettings {
    let separator = matches!(arguments.format, Format::Txt).then(|| SEPARATOR.to_owned());
    DocumentSettings { text_field: "text".to_owned(), document_separator: separator, bad_records: BadRecords::Stop }
}

fn prepare_corpus(arguments: &Arguments, sources: &Sources, tokenizer: &dyn Encode, dir: &Path) -> Result<Progress> {
    if dir.exists() {
        fs::remove_dir_all(dir).context(|| format!("removing {}", dir.display()))?;
    }
    let are_many = arguments.gigabytes * 1e9 / arguments.document_bytes as f64 > 1000.0;
    let held_out = if are_many { HeldOut::DocumentsPercent(1.0) } else { HeldOut::EndOfEachDocumentPercent(0.0) };
    let documents = documents_of(arguments);
    let settings = PrepareSettings { documents, held_out, begin_with: None, end_with: Some(0), unit_bytes: UNIT_BYTES };
    let mut last = Progress::default();
    let mut watch = |event| {
        if let Event::Advanced(progress) = event {
            last = progress;
        }
    };
    match prepare(&settings, sources, tokenizer, dir, arguments.threads, &mut watch, &|| false)? {
        Outcome::Finished(_) => Ok(last),
        Outcome::Stopped => Err(Error::ours("it stopped, and nobody asked it to")),
    }
}
