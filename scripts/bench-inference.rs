//! How fast the packed engine reads prompts and continues them: tokens a second by number of threads, the share of the machine's limits, and
//! memory. For a model on disk, or for random weights of an experiment's shape.

#[path = "bench-inference/llama_cpp.rs"]
mod llama_cpp;

use bitnet::cli::{ModelPlace, run_program};
use bitnet::config::{Activation, Overrides, resolve};
use bitnet::export::{EmbeddingType, GgufOptions, ProjectionType, export_gguf};
use bitnet::inference::{CacheFormat, Chunk, HeadFormat, LoadOptions, Model, StoredModel, Wanted, Workspace, write_random_folder};
use bitnet::report::peak_memory_bytes;
use bitnet::storage::DISK;
use bitnet::ternary::bandwidth;
use bitnet::ternary::large_pages::vec_on_large_pages;
use bitnet::ternary::threads::Threads;
use bitnet::{Context, Error, Result};
use clap::{Parser, ValueEnum};
use llama_cpp::LlamaCpp;
use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const EXPLANATION: &str = "\
Examples:
  bench-inference --model mine               a run by id, unique prefix or path, or a model folder
  bench-inference --random 2b4t              random weights of a published shape
  bench-inference --random 2b4t --head int8,bfloat16 --threads 1,2,4 --csv figures.csv
  bench-inference --random 2b4t --head int8 --against-llama-cpp
  bench-inference --model model.gguf --head int8 --against-llama-cpp

A generated token reads every packed weight and the head once, so it cannot be faster than the memory: `share of that` is how near it comes. \
Prompts are bound by arithmetic: their operations a second count two for each weight of the blocks and token. Each round measures every \
setting once, by turns; figures are medians.";

/// How fast the packed engine reads prompts and continues them
#[derive(Debug, Parser)]
#[command(name = "bench-inference", version, after_help = EXPLANATION)]
struct Arguments {
    /// A model folder or file, a checkpoint, a run's id, a unique prefix of it or its path, or an id on the Hugging Face hub; the newest run
    /// when absent
    #[arg(value_name = "MODEL", conflicts_with_all = ["random", "named"])]
    model: Option<String>,
    /// The same
    #[arg(long = "model", value_name = "MODEL", conflicts_with = "random")]
    named: Option<String>,
    /// Random packed weights of this experiment's shape, such as 2b4t, in the place of a model; kept in models/ for the next call
    #[arg(long, value_name = "EXPERIMENT")]
    random: Option<String>,
    /// Where random models are kept
    #[arg(long, value_name = "DIR", default_value = "models")]
    models_dir: PathBuf,
    /// Numbers of threads
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u64).range(1..))]
    threads: Vec<u64>,
    /// Tokens of the prompt, at most the model's context
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..))]
    prompt: u64,
    /// Tokens that are generated behind the first one, at most what the context leaves
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..))]
    generate: u64,
    /// Numbers of embedding and head: as-stored, float32, bfloat16 or int8
    #[arg(long, value_name = "FORMATS", value_delimiter = ',', default_value = "as-stored", hide_possible_values = true)]
    head: Vec<HeadFormat>,
    /// Numbers of the cache: float32 or bfloat16
    #[arg(long, value_name = "FORMAT", default_value = "float32", hide_possible_values = true)]
    cache: CacheFormat,
    /// Measurements of each figure
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Tokens of a prompt that are read at a time
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..))]
    chunk: u64,
    /// Measures llama.cpp too, by turns, with the same GGUF file; random weights become one in TQ2_0 with a head in Q8_0, and their activation
    /// SiLU, which llama.cpp has
    #[arg(long)]
    against_llama_cpp: bool,
    /// The Python that has llama.cpp's bindings, by default the one that scripts/setup-llama-cpp makes
    #[arg(long, value_name = "FILE", default_value = ".llama-cpp/bin/python", requires = "against_llama_cpp", hide_default_value = true)]
    python: PathBuf,
    /// Writes the figures there too
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    place: ModelPlace,
}

/// One line of the table.
#[derive(serde::Serialize)]
struct Figures {
    engine: &'static str,
    head: String,
    threads: u64,
    prompt_tokens_per_second: f64,
    prompt_gops: f64,
    generated_tokens_per_second: f64,
    reading_gb_per_second: Option<f64>,
    share_of_memory: Option<f64>,
    peak_memory_bytes: Option<u64>,
}

/// Seconds of each round.
#[derive(Default, Clone)]
struct Seconds {
    prompts: Vec<f64>,
    generations: Vec<f64>,
}

fn main() -> ExitCode {
    run_program(|arguments| measure(&arguments))
}

fn measure(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.against_llama_cpp {
        LlamaCpp::require(&arguments.python)?;
    }
    let folder = match &arguments.random {
        Some(experiment) => arguments.random_folder(experiment)?,
        None => arguments.place.find(arguments.model.as_deref().or(arguments.named.as_deref()))?,
    };
    let mut llama = arguments.against_llama_cpp.then(|| arguments.llama_cpp(&folder)).transpose()?;
    let mut all = Vec::new();
    for &head in &arguments.head {
        all.extend(arguments.of_head(&folder, head, llama.as_mut())?);
    }
    if let Some(path) = &arguments.csv {
        let written = csv::Writer::from_path(path).and_then(|mut writer| {
            all.iter().try_for_each(|figures| writer.serialize(figures))?;
            Ok(writer.flush()?)
        });
        written.context(|| format!("writing {}", path.display())).map_err(Error::blame_input)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// That of random weights; the first call writes it.
    fn random_folder(&self, experiment: &str) -> Result<PathBuf> {
        let mut resolved = resolve(experiment, &Overrides::default())?.experiment;
        let mut name = format!("random-{}", resolved.experiment);
        if self.against_llama_cpp {
            resolved.model.hidden_act = Activation::Silu;
            name.push_str("-silu");
        }
        let folder = self.models_dir.join(name);
        writeln!(stderr(), "random weights: {}", folder.display())?;
        write_random_folder(&resolved.model, &folder)?;
        Ok(folder)
    }

    /// llama.cpp with the model at `path`: a GGUF file, or the folder of random weights, which becomes one beside it.
    fn llama_cpp(&self, path: &Path) -> Result<LlamaCpp> {
        let is_gguf = path.extension().is_some_and(|extension| extension == "gguf");
        if !is_gguf && self.random.is_none() {
            let hint = format!("export it first: just export {} --to gguf -o model.gguf", path.display());
            return Err(Error::input(format!("{} is no GGUF file, which is what llama.cpp reads", path.display())).hint(hint));
        }
        let file = if is_gguf { path.to_owned() } else { path.join("model.gguf") };
        if !file.is_file() {
            let options = GgufOptions { projections: Some(ProjectionType::Tq2_0), embedding: EmbeddingType::Q8_0, scaling: None };
            export_gguf(&DISK, &StoredModel::open(path)?, &options, &file)?;
        }
        writeln!(stderr(), "llama.cpp: {}", file.display())?;
        LlamaCpp::load(&self.python, &file, (self.prompt + self.generate + 1) as usize)
    }

    /// All figures of one kind of head; the model is loaded once for each number of threads.
    fn of_head(&self, folder: &Path, head_format: HeadFormat, mut llama: Option<&mut LlamaCpp>) -> Result<Vec<Figures>> {
        let (mut models, mut loading) = (Vec::new(), Vec::new());
        for &threads in &self.threads {
            let (start, options) = (Instant::now(), LoadOptions { num_threads: threads as usize, head_format, cache_format: self.cache });
            models.push(Model::load(folder, &options)?);
            loading.push(format!("{:.2}", start.elapsed().as_secs_f64()));
        }
        let head = head_format.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        let sizes = Sizes::of(&models[0]);
        self.write_heading(&models[0], &sizes, folder, &head, &loading.join(", "))?;
        let mut workspace = models[0].new_workspace(self.chunk as usize);
        let mut seconds = vec![[Seconds::default(), Seconds::default()]; models.len()];
        for _ in 0..self.rounds {
            for ((model, &threads), [ours, theirs]) in models.iter().zip(&self.threads).zip(&mut seconds) {
                ours.prompts.push(self.read_prompt(model, &mut workspace)?);
                ours.generations.push(self.generate(model, &mut workspace)?);
                if let Some(llama) = &mut llama {
                    theirs.prompts.push(llama.read_prompt(self.num_prompt(model), threads)?);
                    theirs.generations.push(llama.generate(self.num_generated(model), threads)?);
                }
            }
        }
        let mut region = vec_on_large_pages(512 << 20);
        region.resize(512 << 20, 1);
        let mut all = Vec::new();
        for (&threads, [ours, theirs]) in self.threads.iter().zip(seconds) {
            let reading = bandwidth::measure(&region, &Threads::new(threads as usize)?, Duration::from_secs(1));
            let mut ours = self.figures(&models[0], threads, &sizes, ours);
            ours.head.clone_from(&head);
            let bytes = sizes.block_bytes + sizes.head_bytes;
            ours.reading_gb_per_second = Some(reading);
            ours.share_of_memory = Some(ours.generated_tokens_per_second * bytes / (reading * 1e9));
            ours.peak_memory_bytes = peak_memory_bytes();
            all.push(ours);
            if !theirs.prompts.is_empty() {
                let theirs = self.figures(&models[0], threads, &sizes, theirs);
                all.push(Figures { engine: "llama.cpp", head: "as in the file".into(), ..theirs });
            }
        }
        all.iter().try_for_each(Figures::write)?;
        Ok(all)
    }

    /// What seconds of our engine mean.
    fn figures(&self, model: &Model, threads: u64, sizes: &Sizes, seconds: Seconds) -> Figures {
        let prompt_tokens_per_second = self.num_prompt(model) as f64 / median(seconds.prompts);
        Figures {
            engine: "bitnet",
            head: String::new(),
            threads,
            prompt_tokens_per_second,
            prompt_gops: 2.0 * sizes.weights * prompt_tokens_per_second / 1e9,
            generated_tokens_per_second: self.num_generated(model) as f64 / median(seconds.generations),
            reading_gb_per_second: None,
            share_of_memory: None,
            peak_memory_bytes: None,
        }
    }

    fn write_heading(&self, model: &Model, sizes: &Sizes, folder: &Path, head: &str, loading: &str) -> Result<()> {
        let (billions, blocks, table) = (sizes.weights / 1e9, sizes.block_bytes / 1e6, sizes.head_bytes / 1e6);
        let (rows, columns) = (model.config().vocab_size, model.config().hidden_size);
        let (prompt, generated) = (format!("prompt of {}", self.num_prompt(model)), format!("generation of {}", self.num_generated(model)));
        let mut out = stdout();
        writeln!(out, "{}", folder.display())?;
        writeln!(
            out,
            "{billions:.3}B weights in blocks, {blocks:.0} MB; head {rows} x {columns}, {head}, {table:.0} MB; loaded in {loading} s\n"
        )?;
        writeln!(out, "   engine  threads  {prompt:>16}  10^9 op/s  {generated:>20}  memory is read at  share of that  most memory")?;
        Ok(())
    }

    fn num_prompt(&self, model: &Model) -> usize {
        (self.prompt as usize).min(model.config().max_position_embeddings)
    }

    fn num_generated(&self, model: &Model) -> usize {
        (self.generate as usize).min(model.config().max_position_embeddings.saturating_sub(1)).max(1)
    }

    /// Seconds that a prompt takes up to its first logits.
    fn read_prompt(&self, model: &Model, workspace: &mut Workspace) -> Result<f64> {
        let (count, vocabulary) = (self.num_prompt(model), model.config().vocab_size);
        let tokens: Vec<u32> = (0..count).map(|index| (index.wrapping_mul(7919) % vocabulary) as u32).collect();
        let mut cache = model.new_cache(count)?;
        let start = Instant::now();
        model.read(&tokens, &mut cache, workspace)?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Seconds that the likeliest tokens behind a first one take, one after the other.
    fn generate(&self, model: &Model, workspace: &mut Workspace) -> Result<f64> {
        let count = self.num_generated(model);
        let mut cache = model.new_cache(count + 1)?;
        let mut token = [0];
        // It takes what a prompt left in the caches of the processor.
        model.read(&token, &mut cache, workspace)?;
        let start = Instant::now();
        for _ in 0..count {
            let logits = model.forward(&mut [Chunk { cache: &mut cache, tokens: &token, logits: Wanted::Last }], workspace)?;
            let likeliest = logits.iter().enumerate().max_by(|left, right| left.1.total_cmp(right.1));
            token = [likeliest.map_or(0, |(index, _)| index as u32)];
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

impl Figures {
    fn write(&self) -> Result<()> {
        let shown = |number: Option<f64>, unit: &str| number.map_or_else(|| "-".to_owned(), |number| format!("{number:.1} {unit}"));
        writeln!(
            stdout(),
            "{:>9}  {:>7}  {:>10.1} tok/s  {:>9.0}  {:>14.2} tok/s  {:>17}  {:>13}  {:>11}",
            self.engine,
            self.threads,
            self.prompt_tokens_per_second,
            self.prompt_gops,
            self.generated_tokens_per_second,
            shown(self.reading_gb_per_second, "GB/s"),
            shown(self.share_of_memory.map(|share| 100.0 * share), "%"),
            shown(self.peak_memory_bytes.map(|bytes| bytes as f64 / 1e9), "GB"),
        )?;
        Ok(())
    }
}

/// What a generated token reads.
struct Sizes {
    weights: f64,
    block_bytes: f64,
    head_bytes: f64,
}

impl Sizes {
    fn of(model: &Model) -> Self {
        let config = model.config();
        let block: usize = config.projections().iter().map(|shape| shape.inputs * shape.outputs).sum();
        let weights = (block * config.num_hidden_layers) as f64;
        Self { weights, block_bytes: weights / 4.0, head_bytes: model.head_bytes() as f64 }
    }
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
