//! Many clients of the server at once, for as long as is asked: every stream must be what its text is alone, nothing may fail, and memory
//! must not grow. Each client streams one text after the other, prompts and lengths by chance, and leaves every tenth in the middle.
//!
//!     cargo bench --no-default-features --bench serve -- --clients 64 --seconds 300

#[allow(dead_code)] // a part of what tests need
#[path = "../tests/serve/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../tests/serve/setting.rs"]
mod setting;
#[allow(dead_code)]
#[path = "../tests/small_folder/mod.rs"]
mod small_folder;

use bitnet::inference::{Engine, GenerationOptions};
use bitnet::random::Random;
use clap::Parser;
use client::{get, post};
use serde_json::{Value, json};
use setting::{GREEDY, engine, random_model, solo};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

/// Texts that clients choose among.
const NUM_TEXTS: usize = 96;
/// One of so many streams is left in the middle.
const LEAVES_ONE_OF: u64 = 10;
/// Until memory is looked at for the first time: all caches are taken then.
const WARM_UP: f64 = 0.2;

/// Loads the server with many clients at once
#[derive(Debug, Parser)]
struct Arguments {
    /// Clients at once
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// How long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Texts that the server computes at once
    #[arg(long, default_value_t = 16)]
    parallel: usize,
    /// A model folder; a small random model when absent
    #[arg(long)]
    model: Option<PathBuf>,
    /// The longest prompt, in tokens
    #[arg(long, default_value_t = 120)]
    longest_prompt: usize,
    /// The longest answer, in tokens
    #[arg(long, default_value_t = 64)]
    longest_answer: usize,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

/// A text, and what it is alone.
struct Text {
    body: Value,
    expected: String,
}

/// The server's process.
struct Server(Child, SocketAddr);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What one client saw.
#[derive(Default)]
struct Seen {
    num_streams: usize,
    num_tokens: usize,
    first_token: Vec<Duration>,
    token: Vec<Duration>,
    errors: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let random = random_model(512);
    let folder = arguments.model.clone().unwrap_or_else(|| random.path().to_owned());
    let texts = texts(&engine(&folder), &arguments);
    let server = start(&folder, &arguments);
    let (start, end) = (Instant::now(), Duration::from_secs(arguments.seconds));
    let finished = AtomicUsize::new(0);
    let (memory, seen) = scope(|threads| {
        let clients: Vec<_> = (0..arguments.clients)
            .map(|index| {
                let (texts, finished, address) = (&texts, &finished, server.1);
                threads.spawn(move || {
                    let seen = be_client(address, index as u64, texts, &|| start.elapsed() < end);
                    finished.fetch_add(1, Ordering::Relaxed);
                    seen
                })
            })
            .collect();
        sleep(end.mul_f64(WARM_UP));
        let mut memory = Vec::new();
        while finished.load(Ordering::Relaxed) < arguments.clients {
            memory.push(metric(server.1, "process_resident_memory_bytes"));
            sleep(Duration::from_millis(500).min(end / 20));
        }
        (memory, clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>())
    });
    report(&memory, seen, start.elapsed(), server.1)
}

fn texts(engine: &Engine, arguments: &Arguments) -> Vec<Text> {
    let mut random = Random::derive(1, "bench serve", 0);
    let alphabet = engine.tokenizer.vocab_size() as u64;
    let text = |_| {
        let length = 1 + random.below(arguments.longest_prompt as u64);
        let prompt: Vec<u32> = (0..length).map(|_| random.below(alphabet) as u32).collect();
        let max_new_tokens = 1 + random.below(arguments.longest_answer as u64) as usize;
        let (expected, _) = solo(engine, &prompt, GenerationOptions { max_new_tokens, ..GREEDY });
        Text { body: json!({"prompt": prompt, "max_tokens": max_new_tokens, "temperature": 0, "stream": true}), expected }
    };
    (0..NUM_TEXTS).map(text).collect()
}

fn start(folder: &std::path::Path, arguments: &Arguments) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serve"));
    command.arg("--model").arg(folder).args(["--port", "0", "--parallel", &arguments.parallel.to_string()]);
    command.args(["--queue", &arguments.clients.to_string()]).env_remove("BITNET_API_KEY");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    Server(child, line.trim().trim_start_matches("http://").parse().unwrap())
}

fn be_client(address: SocketAddr, index: u64, texts: &[Text], goes_on: &dyn Fn() -> bool) -> Seen {
    let (mut random, mut seen) = (Random::derive(2, "client", index), Seen::default());
    while goes_on() {
        let text = &texts[random.below(texts.len() as u64) as usize];
        let leaves_after = (random.below(LEAVES_ONE_OF) == 0).then(|| random.below(5));
        seen.stream(address, text, leaves_after);
    }
    seen
}

impl Seen {
    fn stream(&mut self, address: SocketAddr, text: &Text, leaves_after: Option<u64>) {
        let mut last = Instant::now();
        let mut reply = post(address, "/v1/completions", &text.body);
        self.num_streams += 1;
        if reply.status != 200 {
            let status = reply.status;
            return self.errors.push(format!("status {status}: {}", reply.text()));
        }
        let (mut said, mut num_events) = (String::new(), 0);
        loop {
            if leaves_after.is_some_and(|count| num_events >= count) {
                return;
            }
            match reply.event() {
                None => return self.errors.push("a stream broke off".into()),
                Some(event) if event == "[DONE]" => break,
                Some(event) => {
                    let event: Value = serde_json::from_str(&event).unwrap();
                    let Some(piece) = event["choices"][0]["text"].as_str() else { return self.errors.push(event.to_string()) };
                    said += piece;
                }
            }
            let times = if num_events == 0 { &mut self.first_token } else { &mut self.token };
            times.push(last.elapsed());
            (last, num_events) = (Instant::now(), num_events + 1);
        }
        self.num_tokens += num_events as usize;
        if said != text.expected {
            self.errors.push(format!("{} became {said:?}, alone it is {:?}", text.body, text.expected));
        }
    }
}

fn metric(address: SocketAddr, name: &str) -> f64 {
    let text = get(address, "/metrics").text();
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(f64::NAN)
}

fn report(memory: &[f64], seen: Vec<Seen>, elapsed: Duration, address: SocketAddr) -> ExitCode {
    let sum = |count: fn(&Seen) -> usize| seen.iter().map(count).sum::<usize>();
    let seconds = elapsed.as_secs_f64();
    let tokens = metric(address, "bitnet_generated_tokens_total") + metric(address, "bitnet_prompt_tokens_total");
    println!("{} clients, {seconds:.0} s: {} streams", seen.len(), sum(|seen| seen.num_streams));
    println!("tokens/s: {:.0} generated, {:.0} with prompts", metric(address, "bitnet_generated_tokens_total") / seconds, tokens / seconds);
    println!("streamed whole and as they are alone: {} events", sum(|seen| seen.num_tokens));
    print_times("time to the first token", seen.iter().flat_map(|seen| &seen.first_token));
    print_times("time between tokens", seen.iter().flat_map(|seen| &seen.token));
    let quarter = |part: usize| {
        let part: Vec<f64> = memory.iter().skip(part * memory.len() / 4).take(memory.len().div_ceil(4)).copied().collect();
        part.iter().sum::<f64>() / part.len() as f64 / 1e6
    };
    println!("memory of the server: {:.2} MB in the first quarter behind the start, {:.2} MB in the last", quarter(0), quarter(3));
    let left = metric(address, "bitnet_active_sequences") + metric(address, "bitnet_queue_length");
    println!("given up, for their client left: {}; left over: {left}", metric(address, "bitnet_cancelled_total"));
    let errors: Vec<&String> = seen.iter().flat_map(|seen| &seen.errors).collect();
    println!("errors: {}", errors.len());
    errors.iter().take(5).for_each(|error| println!("  {error}"));
    ExitCode::from(u8::from(!errors.is_empty()))
}

fn print_times<'a>(name: &str, times: impl Iterator<Item = &'a Duration>) {
    let mut times: Vec<Duration> = times.copied().collect();
    times.sort();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    println!("{name}: median {:.1} ms, 90 % {:.1} ms, 99 % {:.1} ms, longest {:.1} ms", at(0.5), at(0.9), at(0.99), at(0.999_999));
}
