//! `estimate`: what an experiment will take before it is started: parameters, arithmetic, memory, time and price. Owns the command
//! line; the arithmetic is the library's.

use bitnet::cli::run_program;
use bitnet::config::{Accelerator, Budget, Estimate, Experiment, Kernels, Overrides, resolve};
use bitnet::report::{accelerator_table, budget_view, measured_view};
use bitnet::run::{self, Status, find_run};
use bitnet::storage::DISK;
use bitnet::{Error, Result};
use clap::Parser;
use serde::Serialize;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  estimate arithmetic                                  parameters, tokens, arithmetic, memory, disk
  estimate arithmetic --gpu rtx3060                    whether it fits, for how long, at what price
  estimate arithmetic --gpu h100 --mfu 0.3 --price 2   with another share of the peak and price
  estimate --gpu list                                  the GPUs that are known
  estimate arithmetic --tokens-per-second 20000        time at a speed that was measured
  estimate arithmetic --flops 500e9                    time on a machine that does so many operations a second
  estimate arithmetic --like mine --json               at the speed of the run mine; for programs

Memory is a sum of what has to be held, not a measurement; on a CPU it is that of the integer kernels.
--flops is what training reaches, not a peak: tokens a second times the arithmetic of a token.
Time on a GPU is the arithmetic over a share of the peak: 0.4 is good, small models reach less.";

/// Where nothing says how fast it goes.
const TIME: &str = "\
hint: for the time, --gpu NAME (--gpu list shows them) or a speed: --like RUN that of a run, --tokens-per-second N, --flops N";

/// Estimates what an experiment takes: parameters, arithmetic, memory, time and price
#[derive(Debug, Parser)]
#[command(name = "estimate", version, after_help = EXAMPLES)]
struct Arguments {
    /// An experiment's name, its directory, or a config.yaml
    experiment: Option<PathBuf>,
    /// A GPU by name; `list` prints those that are known
    #[arg(long, value_name = "NAME", conflicts_with_all = ["tokens_per_second", "like"])]
    gpu: Option<String>,
    /// Share of the GPU's peak that is reached, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.4)]
    mfu: f64,
    /// Price of the machine in US dollars an hour; the GPU's usual one when absent
    #[arg(long, value_name = "USD_PER_HOUR")]
    price: Option<f64>,
    /// Speed that was measured, for the time on a CPU or anywhere else
    #[arg(long, value_name = "N", conflicts_with = "like")]
    tokens_per_second: Option<f64>,
    /// Operations a second that training reaches, such as 500e9, for the time on a CPU or anywhere else
    #[arg(long, value_name = "FLOPS", conflicts_with_all = ["gpu", "tokens_per_second", "like"])]
    flops: Option<f64>,
    /// Take the speed of this run: an id, the beginning of one, a path, or `latest`
    #[arg(long, value_name = "RUN")]
    like: Option<String>,
    /// Where runs lie
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs_dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// All of it, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    experiment: String,
    estimate: Estimate,
    gpu: Option<Budget>,
    measured: Option<Measured>,
}

/// Time at a speed that was measured.
#[derive(Debug, Serialize)]
struct Measured {
    tokens_per_second: f64,
    seconds: f64,
    usd: Option<f64>,
}

fn main() -> ExitCode {
    run_program(|arguments| estimate(&arguments))
}

fn estimate(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.gpu.as_deref() == Some("list") {
        write!(stdout(), "{}", accelerator_table())?;
        return Ok(ExitCode::SUCCESS);
    }
    let experiment = arguments.resolved()?;
    let report = arguments.report(&experiment)?;
    let text = if arguments.json { serde_json::to_string_pretty(&report)? } else { arguments.text(&report, &experiment) };
    writeln!(stdout(), "{text}")?;
    if report.gpu.is_none() && report.measured.is_none() {
        writeln!(stderr(), "{TIME}")?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn resolved(&self) -> Result<Experiment> {
        in_range("--mfu", self.mfu, f64::MIN_POSITIVE, 1.0, "a share of the peak, above 0 and at most 1")?;
        in_range("--price", self.price.unwrap_or(0.0), 0.0, 1e6, "US dollars an hour, 0 or more")?;
        in_range("--tokens-per-second", self.tokens_per_second.unwrap_or(1.0), f64::MIN_POSITIVE, 1e12, "above 0")?;
        in_range("--flops", self.flops.unwrap_or(1.0), f64::MIN_POSITIVE, 1e24, "above 0")?;
        let missing = || Error::input("no experiment is named").hint("such as: estimate arithmetic");
        let resolved = resolve(self.experiment.as_deref().ok_or_else(missing)?, &self.overrides)?;
        resolved.warnings.iter().for_each(|warning| drop(writeln!(stderr(), "warning: {warning}")));
        Ok(resolved.experiment)
    }

    fn report(&self, experiment: &Experiment) -> Result<Report> {
        let gpu = self.gpu.as_deref().map(Accelerator::named).transpose()?;
        let estimate = if gpu.is_some() { experiment.estimate_for(Kernels::Gpu) } else { experiment.estimate() };
        let budget = gpu.map(|gpu| gpu.budget(&estimate, experiment.precision, self.mfu, self.price));
        let of_flops = self.flops.map(|flops| flops / estimate.flops_per_token);
        let measured = self.speed()?.or(of_flops).map(|tokens_per_second| {
            let seconds = estimate.total_tokens as f64 / tokens_per_second;
            Measured { tokens_per_second, seconds, usd: self.price.map(|price| seconds / 3600.0 * price) }
        });
        Ok(Report { experiment: experiment.experiment.clone(), estimate, gpu: budget, measured })
    }

    /// What was given, or what the named run does.
    fn speed(&self) -> Result<Option<f64>> {
        let Some(name) = &self.like else { return Ok(self.tokens_per_second) };
        let run = find_run(&DISK, &self.runs_dir, Some(name))?;
        let speed = Status::read(&DISK, &run, run::unix_time())?.tokens_per_second;
        let missing = || Error::input(format!("run {} has taken no step yet", run.id())).hint("--tokens-per-second gives a speed");
        speed.map(Some).ok_or_else(missing)
    }

    fn text(&self, report: &Report, experiment: &Experiment) -> String {
        let estimate = &report.estimate;
        let usual = report.gpu.as_ref().map(|budget| budget.accelerator.usd_per_hour).unwrap_or_default();
        let price = self.price.unwrap_or(usual);
        let gpu = report.gpu.iter().map(|budget| budget_view(budget, estimate, experiment.precision, price));
        let measured = report.measured.iter().map(|it| measured_view(it.seconds, it.tokens_per_second, self.price));
        [estimate.to_string()].into_iter().chain(gpu).chain(measured).collect::<Vec<_>>().join("\n")
    }
}

fn in_range(flag: &str, value: f64, least: f64, most: f64, rule: &str) -> Result<()> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(Error::input(format!("{flag} {value}: it must be {rule}"))) }
}
