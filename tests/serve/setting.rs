//! Models to serve, and servers of them in this process: a random one, whose tokens depend on the whole text, and one that says the same
//! characters in a circle.

use super::client::{PATIENCE, get};
use super::small_folder;
use bitnet::config::ModelConfig;
use bitnet::inference::{Engine, GenerationOptions, LoadOptions, SamplingOptions, generate};
use bitnet::random::Random;
use bitnet::run::{StopReason, StopSignal};
use bitnet::serve::{ServeOptions, Server};
use bitnet::tokenizer::{BytePairOptions, Tokenizer};
use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Greedy, with nothing that stops it.
pub const GREEDY: GenerationOptions =
    GenerationOptions { max_new_tokens: 16, stop: Vec::new(), sampling: SamplingOptions::GREEDY, num_log_probabilities: None };
/// Every byte has one successor.
pub const CIRCLE: &str = "é☺𝄞ж";
const CHATML: &str = "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}\
                      {% if add_generation_prompt %}<assistant>{% endif %}";

fn config(context: usize) -> ModelConfig {
    let base = small_folder::config();
    ModelConfig {
        vocab_size: 320,
        hidden_size: 64,
        intermediate_size: 96,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: context,
        tie_word_embeddings: false,
        ..base
    }
}

fn tokenizer() -> Tokenizer {
    let options = BytePairOptions { vocab_size: 300, min_frequency: 2, special_tokens: Vec::new(), largest_sample: 1 << 20 };
    let text = "to be or not to be, that is the question. the cat sat on the mat; the dog did not. ".repeat(4);
    Tokenizer::train_byte_pair([Ok(text)], &options).unwrap().tokenizer
}

fn folder_of(config: &ModelConfig, number: impl FnMut(&str, usize) -> f32) -> TempDir {
    small_folder::folder_of(config, &tokenizer(), number)
}

/// A random model; ids that are no text are never the likeliest.
pub fn random_model(context: usize) -> TempDir {
    let mut random = Random::derive(1, "weights", 0);
    let dir = folder_of(&config(context), |name, index| match name {
        _ if name.ends_with("norm.weight") => 1.0,
        "lm_head.weight" if !(4..300).contains(&(index / 64)) => 0.0,
        _ => random.unit() as f32 - 0.5,
    });
    fs::write(dir.path().join("chat_template.jinja"), CHATML).unwrap();
    dir
}

/// Attention and feed-forward add nothing, and the head of each byte of [`CIRCLE`] is the embedding of the byte before it.
pub fn circle_model() -> TempDir {
    let ids = tokenizer().encode(CIRCLE).unwrap();
    assert_eq!(ids.len(), CIRCLE.len(), "a token is a byte");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "each has one successor");
    let place_of = |row: usize| ids.iter().position(|&id| id as usize == row);
    folder_of(&config(128), |name, index| {
        let (row, column) = (index / 64, index % 64);
        let is_set = match name {
            "model.embed_tokens.weight" => place_of(row) == Some(column),
            "lm_head.weight" => place_of(row).is_some_and(|place| (place + ids.len() - 1) % ids.len() == column),
            _ => name.ends_with("norm.weight"),
        };
        f32::from(is_set)
    })
}

/// A model whose logits are no numbers.
pub fn damaged_model() -> TempDir {
    folder_of(&config(128), |name, index| match name {
        "lm_head.weight" if index / 64 == 7 => f32::MAX,
        "model.norm.weight" => 1e30,
        _ if name.ends_with("norm.weight") => 1.0,
        _ => (index % 7) as f32 - 2.5,
    })
}

pub fn engine(dir: &Path) -> Engine {
    Engine::load(dir, &LoadOptions { num_threads: 1, ..LoadOptions::default() }).unwrap()
}

/// What the engine says by itself, one text and nothing else.
pub fn solo(engine: &Engine, prompt: &[u32], options: GenerationOptions) -> (String, usize) {
    let (mut text, mut workspace) = (String::new(), engine.model.new_workspace(64));
    let add = |piece: &bitnet::inference::Piece| {
        text += &piece.text;
        Ok(())
    };
    let summary = generate(engine, prompt, options, &mut workspace, &|| false, add).unwrap();
    (text, summary.num_tokens)
}

/// A server in this process; it stops when dropped.
pub struct Running {
    pub address: SocketAddr,
    pub stop: StopSignal,
    thread: Option<JoinHandle<()>>,
}

/// On any free port of loopback.
pub fn options() -> ServeOptions {
    ServeOptions { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..ServeOptions::new("tiny") }
}

impl Running {
    pub fn new(dir: &TempDir, options: &ServeOptions) -> Self {
        let server = Server::start(engine(dir.path()), options).unwrap();
        let (address, stop) = (server.address(), StopSignal::default());
        let signal = stop.clone();
        Self { address, stop, thread: Some(spawn(move || server.run(&signal).unwrap())) }
    }

    /// A sample of /metrics, by its name with labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = get(self.address, "/metrics").text();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a sample has a value.
    pub fn wait_until(&self, name: &str, is_fine: impl Fn(f64) -> bool) {
        let start = Instant::now();
        while !is_fine(self.metric(name)) {
            assert!(start.elapsed() < PATIENCE, "{name} stays {}", self.metric(name));
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has stopped of itself.
    pub fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.request(StopReason::Terminate);
        let outcome = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || !matches!(outcome, Some(Err(_))), "the server failed");
    }
}
