//! Checks a GPU against the CPU and measures it, in minutes: `check-gpu.md` and `check-gpu.json`. Without a GPU the same parts run on the CPU.

use bitnet::cli::run_program;
use bitnet::config::DeviceChoice;
use bitnet::train::check_gpu::{Part, Scale, Setting, Supervisor, check_gpu};
use bitnet::{Context, Error, Result};
use clap::Parser;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const EXPLANATION: &str = "\
Codes, gradients and losses are compared with the CPU's; tokens a second, share of the peak (MFU), memory and the time by operator are \
measured; a run is stopped and resumed. Each part is a process of its own, and what is known is written after each. Exit status 1: \
something is wrong.

Examples:
  check-gpu                                   all parts on the best device, within 8 minutes
  check-gpu --device cpu --scale tiny         the program itself, in seconds
  check-gpu --parts codes,gradients           only these

On a machine that can neither fetch nor compile, scripts/check-gpu runs a binary built elsewhere on the libtorch of an installed PyTorch.";

/// Checks a GPU against the CPU and measures it
#[derive(Debug, Parser)]
#[command(name = "check-gpu", version, after_help = EXPLANATION)]
struct Arguments {
    /// Where the results go
    #[arg(short, long, value_name = "DIR", default_value = "check-gpu")]
    out: PathBuf,
    /// What is checked
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,
    /// How much of everything [default: full on an NVIDIA GPU, else small]
    #[arg(long, value_name = "SCALE")]
    scale: Option<Scale>,
    /// Time for all parts together; what does not fit is skipped
    #[arg(long, value_name = "SECONDS", default_value_t = 480)]
    budget_seconds: u64,
    /// Only these parts
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    parts: Vec<String>,
    /// One part, in this process, with its finding in --work
    #[arg(long, hide = true, requires = "work")]
    part: Option<String>,
    #[arg(long, hide = true)]
    work: Option<PathBuf>,
}

fn main() -> ExitCode {
    run_program(check)
}

fn check(arguments: Arguments) -> Result<ExitCode> {
    if let (Some(part), Some(work_dir)) = (&arguments.part, &arguments.work) {
        return look(part, &arguments, work_dir.clone());
    }
    let parts = match arguments.parts.is_empty() {
        true => Part::all(),
        false => arguments.parts.iter().map(|name| Part::named(name)).collect::<Result<_>>()?,
    };
    let supervisor = Supervisor {
        program: std::env::current_exe().context(|| "finding this program")?,
        device: arguments.device,
        scale: arguments.scale,
        parts,
        budget: Duration::from_secs(arguments.budget_seconds),
        out_dir: arguments.out.clone(),
    };
    let report = check_gpu(&supervisor, &mut |part| {
        let _ = writeln!(stderr(), "{:<28} {:<9} {:>6.1} s  {}", part.name, part.verdict.word(), part.seconds, part.summary);
    })?;
    let _ = writeln!(stdout(), "{}", arguments.out.join("check-gpu.md").display());
    Ok(ExitCode::from(u8::from(!report.is_right())))
}

/// One part, for the process that started this one.
fn look(part: &str, arguments: &Arguments, work_dir: PathBuf) -> Result<ExitCode> {
    let scale = arguments.scale.ok_or_else(|| Error::input("--part needs --scale"))?;
    let path = work_dir.join("finding.json");
    let finding = Part::named(part)?.look(&Setting { device: arguments.device, scale, work_dir })?;
    std::fs::write(&path, serde_json::to_vec(&finding)?).context(|| format!("writing {}", path.display()))?;
    Ok(ExitCode::SUCCESS)
}
