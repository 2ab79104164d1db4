//! What a narrower embedding and head cost: the perplexity of a text by their format, with the packed engine.

use bitnet::inference::{Chunk, Engine, HeadFormat, LoadOptions, Wanted};
use bitnet::report::run_binary;
use bitnet::{Context, Error, Result};
use clap::Parser;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

/// Tokens that are read at a time.
const CHUNK: usize = 64;

/// The perplexity of a text by the format of embedding and head
#[derive(Debug, Parser)]
#[command(name = "heads", disable_help_subcommand = true)]
struct Arguments {
    /// A model folder, a checkpoint or a GGUF file
    #[arg(long, value_name = "PATH")]
    model: PathBuf,
    /// The text, which the model has not been trained on
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// So many of its tokens
    #[arg(long, value_name = "N", default_value_t = 16384, value_parser = clap::value_parser!(u64).range(2..))]
    tokens: u64,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    run_binary(|| measure(&Arguments::parse()))
}

fn measure(arguments: &Arguments) -> Result<ExitCode> {
    let text = std::fs::read_to_string(&arguments.text).context(|| arguments.text.display().to_string()).map_err(Error::blame_input)?;
    for (name, head_format) in [("float32", HeadFormat::Float32), ("bfloat16", HeadFormat::Bfloat16), ("int8", HeadFormat::Int8)] {
        let engine = Engine::load(&arguments.model, &LoadOptions { head_format, ..LoadOptions::default() })?;
        let mut tokens = engine.encode_prompt(&text)?;
        tokens.truncate(arguments.tokens as usize);
        let nats = nats_per_token(&engine, &tokens)?;
        writeln!(stdout(), "{name:>8}: {nats:.5} nats a token, perplexity {:.4}", nats.exp())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The mean over all tokens but the first of each context.
fn nats_per_token(engine: &Engine, tokens: &[u32]) -> Result<f64> {
    let config = engine.model.config();
    let mut workspace = engine.model.new_workspace(CHUNK);
    let (mut nats, mut count) = (0.0, 0);
    for context in tokens.chunks(config.max_position_embeddings) {
        let mut cache = engine.model.new_cache(context.len())?;
        for (index, chunk) in context.chunks(CHUNK).enumerate() {
            let pass = Chunk { cache: &mut cache, tokens: chunk, logits: Wanted::All };
            let logits = engine.model.forward(&mut [pass], &mut workspace)?;
            let next = &context[index * CHUNK + 1..];
            for (logits, next) in logits.chunks(config.vocab_size).zip(next) {
                nats += surprise(logits, *next as usize);
                count += 1;
            }
        }
    }
    match count {
        0 => Err(Error::input("the text has fewer than two tokens")),
        _ => Ok(nats / f64::from(count)),
    }
}

/// `-ln softmax(logits)[token]`.
fn surprise(logits: &[f32], token: usize) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let total: f64 = logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum();
    total.ln() + largest - f64::from(logits[token])
}
