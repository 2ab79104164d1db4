//! `serve`: a model behind an OpenAI-compatible API, by the packed engine, without libtorch: where it listens on stdout, what it does on
//! stderr. Owns the command line; the server is the library's.

use bitnet::Result;
use bitnet::cli::{ModelArguments, TemplateArguments, run_program};
use bitnet::report::without_controls;
use bitnet::run::StopSignal;
use bitnet::serve::{ServeOptions, Server};
use clap::Parser;
use std::io::{Write, stderr, stdout};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  serve                                         the newest run, on http://127.0.0.1:8080, with a page to try it in a browser
  serve mine --port 9000                        a run by id, unique prefix or path
  serve microsoft/bitnet-b1.58-2B-4T --parallel 4 --context 2048 --cache bfloat16
  BITNET_API_KEY=secret serve --host 0.0.0.0    for other machines, by its address; behind a proxy that speaks TLS
  serve --host 0.0.0.0 --host-name models.lan   for other machines, by its name too
  curl http://127.0.0.1:8080/v1/completions -H 'Content-Type: application/json' -d '{\"prompt\": \"Once upon a time\", \"max_tokens\": 50}'

Ctrl-C or SIGTERM ends it in order: what is computed is finished within --grace seconds; a second Ctrl-C ends it at once.";

/// Serves a model by an OpenAI-compatible API
#[derive(Debug, Parser)]
#[command(name = "serve", version, after_help = EXAMPLES)]
struct Arguments {
    /// A model folder or file, a checkpoint, a run's id, a unique prefix of it or its path, or an id on the Hugging Face hub; the newest run
    /// when absent
    model: Option<String>,
    /// The same, as other commands have it
    #[arg(long = "model", value_name = "MODEL", conflicts_with = "model")]
    model_flag: Option<String>,
    /// What the model is called in requests and answers; the name of its run or folder when absent
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where to listen: 127.0.0.1 for this machine alone, 0.0.0.0 for others too
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// A name by which browsers and clients may ask for this server, beside its address and localhost; may be given several times
    #[arg(long, value_name = "NAME")]
    host_name: Vec<String>,
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
    #[command(flatten)]
    template: TemplateArguments,
    #[command(flatten)]
    loading: ModelArguments,
}

fn main() -> ExitCode {
    run_program(|arguments| serve(&arguments))
}

fn serve(arguments: &Arguments) -> Result<ExitCode> {
    let stop = StopSignal::listen()?;
    arguments.options("").validate()?; // before the model is loaded, which takes a while
    let (path, mut engine) = arguments.loading.load(arguments.model())?;
    arguments.template.apply(&mut engine, &path)?;
    let hub_id = || arguments.model().filter(|model| model.contains('/') && !Path::new(model).exists()).map(str::to_owned);
    let options = arguments.options(&arguments.name.clone().or_else(hub_id).unwrap_or_else(|| model_name(&path)));
    let server = Server::start(engine, &options)?;
    writeln!(stdout(), "http://{}", server.address())?;
    stdout().flush()?;
    arguments.write_start(&options)?;
    server.run(&stop)?;
    writeln!(stderr(), "stopped")?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn model(&self) -> Option<&str> {
        self.model.as_deref().or(self.model_flag.as_deref())
    }

    fn options(&self, model_name: &str) -> ServeOptions {
        ServeOptions {
            address: SocketAddr::from((self.host, self.port)),
            host_names: self.host_name.clone(),
            api_key: self.api_key.clone(),
            parallel: self.parallel,
            queue: self.queue,
            context: self.context,
            batch_tokens: self.batch_tokens,
            max_tokens: self.max_tokens,
            max_body_bytes: self.max_body_bytes,
            grace: Duration::from_secs(self.grace),
            ..ServeOptions::new(model_name)
        }
    }

    fn write_start(&self, options: &ServeOptions) -> Result<()> {
        let (name, parallel) = (without_controls(&options.model_name), options.parallel);
        writeln!(stderr(), "serving {name} to up to {parallel} texts at once; Ctrl-C stops")?;
        if !self.host.is_loopback() && options.api_key.is_none() {
            writeln!(stderr(), "warning: other machines reach it without an API key\nhint: set BITNET_API_KEY")?;
        }
        Ok(())
    }
}

/// The name of a folder; of a checkpoint that of its run.
fn model_name(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let checkpoints = folder.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "checkpoints"));
    let named = checkpoints.and_then(Path::parent).unwrap_or(&folder);
    named.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned())
}
