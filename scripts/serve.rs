//! `serve`: a model behind an OpenAI-compatible API, by the packed engine, without libtorch: where it listens on stdout, what it does on
//! stderr. Owns the command line; the server is the library's.

use bitnet::inference::{CacheFormat, Engine, HeadFormat, LoadOptions};
use bitnet::report::{run_binary, write_completions};
use bitnet::run::{StopSignal, model_folder};
use bitnet::serve::{ServeOptions, Server};
use bitnet::storage::{DISK, read_capped};
use bitnet::tokenizer::ChatTemplate;
use bitnet::{Context, Error, Result};
use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use std::io::{Write, stderr, stdout};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  serve                                         the newest run, on http://127.0.0.1:8080, with a page to try it in a browser
  serve --model mine --port 9000                a run by id, unique prefix or path
  serve --model models/bitnet-b1.58-2B-4T --parallel 4 --context 2048 --cache bfloat16
  BITNET_API_KEY=secret serve --host 0.0.0.0    for other machines; behind a proxy that speaks TLS
  curl http://127.0.0.1:8080/v1/completions -H 'Content-Type: application/json' -d '{\"prompt\": \"Once upon a time\", \"max_tokens\": 50}'

Ctrl-C or SIGTERM ends it in order: what is computed is finished within --grace seconds; a second Ctrl-C ends it at once.";

/// Bytes of the largest template that is read.
const LARGEST_TEMPLATE: u64 = 1 << 20;

/// Serves a model by an OpenAI-compatible API
#[derive(Debug, Parser)]
#[command(name = "serve", version, after_help = EXAMPLES)]
struct Arguments {
    /// A model folder, a checkpoint, or a run's id, a unique prefix of it or its path; the newest run when absent
    #[arg(long)]
    model: Option<String>,
    /// What the model is called in requests and answers; the name of its run or folder when absent
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How chats are written: chatml, llama3, bitnet, plain, or a file with a Jinja template; the model's own when absent
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Where to listen: 127.0.0.1 for this machine alone, 0.0.0.0 for others too
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// 0 takes any that is free
    #[arg(long, value_name = "N", default_value_t = 8080)]
    port: u16,
    /// What clients must send as `Authorization: Bearer KEY`; other users of the machine see it here, but not in BITNET_API_KEY
    #[arg(long, value_name = "KEY", env = "BITNET_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Texts that are computed at once; each has a cache for --context tokens
    #[arg(long, value_name = "N", default_value_t = 8)]
    parallel: usize,
    /// Texts that wait beyond those; further requests are refused with status 429
    #[arg(long, value_name = "N", default_value_t = 64)]
    queue: usize,
    /// Tokens of a text, prompt and answer together; the model's context when absent
    #[arg(long, value_name = "N")]
    context: Option<usize>,
    /// Tokens of one pass over the model; long prompts are read in parts, so that others need not wait
    #[arg(long, value_name = "N", default_value_t = 256)]
    batch_tokens: usize,
    /// The most new tokens that a request may ask for; only the context limits them when absent
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Bytes of the largest request
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    max_body_bytes: usize,
    /// How long what is computed may go on once the server is asked to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    grace: u64,
    /// Threads that compute; all processors when absent
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Numbers of embedding and head: as-stored, float32, bfloat16 or int8
    #[arg(long, value_name = "FORMAT", default_value = "as-stored", hide_possible_values = true)]
    head: HeadFormat,
    /// Numbers of the caches: float32 or bfloat16
    #[arg(long, value_name = "FORMAT", default_value = "float32", hide_possible_values = true)]
    cache: CacheFormat,
    /// Where runs lie
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs_dir: PathBuf,
    /// Print a completion script for this shell, then stop
    #[arg(long, value_name = "SHELL", exclusive = true)]
    completions: Option<Shell>,
}

fn main() -> ExitCode {
    run_binary(|| serve(&Arguments::parse()))
}

fn serve(arguments: &Arguments) -> Result<ExitCode> {
    if let Some(shell) = arguments.completions {
        return write_completions(shell, &mut Arguments::command());
    }
    let stop = StopSignal::listen()?;
    let folder = model_folder(&DISK, &arguments.runs_dir, arguments.model.as_deref())?;
    let options = arguments.options(&folder);
    options.validate()?;
    let mut engine = Engine::load(&folder, &arguments.load_options()?)?;
    if let Some(name) = &arguments.template {
        let template = chat_template(name, &engine)?;
        engine.set_template(template);
    }
    let server = Server::start(engine, &options)?;
    writeln!(stdout(), "http://{}", server.address())?;
    stdout().flush()?;
    arguments.write_start(&options)?;
    server.run(&stop)?;
    writeln!(stderr(), "stopped")?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn options(&self, folder: &Path) -> ServeOptions {
        ServeOptions {
            address: SocketAddr::from((self.host, self.port)),
            api_key: self.api_key.clone(),
            parallel: self.parallel,
            queue: self.queue,
            context: self.context,
            batch_tokens: self.batch_tokens,
            max_tokens: self.max_tokens,
            max_body_bytes: self.max_body_bytes,
            grace: Duration::from_secs(self.grace),
            ..ServeOptions::new(self.name.clone().unwrap_or_else(|| model_name(folder)))
        }
    }

    fn load_options(&self) -> Result<LoadOptions> {
        if self.threads == Some(0) {
            return Err(Error::input("--threads 0: it must be 1 or more"));
        }
        let defaults = LoadOptions::default();
        Ok(LoadOptions { num_threads: self.threads.unwrap_or(defaults.num_threads), head_format: self.head, cache_format: self.cache })
    }

    fn write_start(&self, options: &ServeOptions) -> Result<()> {
        let (name, parallel) = (&options.model_name, options.parallel);
        writeln!(stderr(), "serving {name} to up to {parallel} texts at once; Ctrl-C stops")?;
        if !self.host.is_loopback() && options.api_key.is_none() {
            writeln!(stderr(), "warning: other machines reach it without an API key\nhint: set BITNET_API_KEY")?;
        }
        Ok(())
    }
}

/// The template in the file `name`, or the built-in one of that name.
fn chat_template(name: &str, engine: &Engine) -> Result<ChatTemplate> {
    let path = Path::new(name);
    if !path.is_file() {
        return ChatTemplate::built_in(name, &engine.tokenizer);
    }
    let source = read_capped(&DISK, path, LARGEST_TEMPLATE).map_err(Error::blame_input)?;
    let source = String::from_utf8(source).context(|| format!("reading {name}")).map_err(Error::blame_input)?;
    let template = ChatTemplate::of_files(Some(&source), None, &engine.tokenizer).context(|| name.to_owned())?;
    template.ok_or_else(|| Error::input(format!("{name}: there is no chat template")))
}

/// The name of a folder; of a checkpoint that of its run.
fn model_name(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let checkpoints = folder.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "checkpoints"));
    let named = checkpoints.and_then(Path::parent).unwrap_or(&folder);
    named.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned())
}
