//! `plot-loss`: draws the loss of runs. Owns the command line; the work is the library's.

use bitnet::cli::{from_here, name_from_here, run_program};
use bitnet::report::{Curve, LOSS, PictureFormat, PlotOptions, XAxis, draw_in_terminal, draw_picture, stdout_has_colour, stdout_width};
use bitnet::run::{LOSS_DECAY, RunDirectory, find_run};
use bitnet::storage::{DISK, create_dir_durably, write_atomically};
use bitnet::{Error, Result};
use clap::{Parser, ValueEnum};
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  plot-loss                                      the run launched last, into its plots/loss.png
  plot-loss mine -o loss.svg                     the run mine, as SVG
  plot-loss mine other --smooth 0.98 --log       two runs in one picture
  plot-loss mine --terminal                      drawn in characters
  plot-loss mine --y grad_norm --smooth 0        another column of the steps
  plot-loss mine other --y exact_match           a metric of the evaluations

The path of the picture is printed on stdout. Of a run that is still writing, what is there is drawn.";

/// Lines of the chart in the terminal.
const TERMINAL_HEIGHT: usize = 20;

/// Draws the loss of one run or several: raw, smoothed and held-out, with the learning rate
#[derive(Debug, Parser)]
#[command(name = "plot-loss", version, after_help = EXAMPLES)]
struct Arguments {
    /// Ids, beginnings of ids, paths, or `latest`; the run launched last when absent
    runs: Vec<String>,
    /// File to write, .png or .svg, into a directory that is there; plots/loss.png of the first run when absent
    #[arg(short, long, value_name = "FILE", conflicts_with = "terminal")]
    output: Option<PathBuf>,
    /// Decay of the smoothing mean: 0 for none, below 1. At 0.98 half of the weight lies on the last 34 steps, as in the trainer's
    /// lines and in check-status
    #[arg(long, value_name = "DECAY", default_value_t = LOSS_DECAY, value_parser = decay)]
    smooth: f64,
    /// What is drawn: loss, grad_norm, learning_rate, step_seconds, tokens_per_second, weight_decay, or a metric of the evaluations
    #[arg(long, value_name = "NAME", default_value = LOSS)]
    y: String,
    /// Leave out the learning rate and its axis
    #[arg(long)]
    no_learning_rate: bool,
    /// What the horizontal axis counts
    #[arg(long, value_name = "UNIT", default_value = "steps")]
    x: Unit,
    /// Make the loss axis logarithmic
    #[arg(long)]
    log: bool,
    /// Draw in the terminal instead of a file
    #[arg(long)]
    terminal: bool,
    /// Where runs lie
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs_dir: PathBuf,
}

/// What the horizontal axis counts.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Unit {
    Steps,
    Tokens,
}

fn main() -> ExitCode {
    run_program(|arguments| plot_loss(&arguments))
}

fn plot_loss(arguments: &Arguments) -> Result<ExitCode> {
    let runs = arguments.runs()?;
    let output = arguments.output(&runs[0])?;
    let format = PictureFormat::of(&output)?; // before the work
    let options = arguments.options();
    let curves = runs.iter().map(|run| arguments.curve(run)).collect::<Result<Vec<_>>>()?;
    warn_of_empty(&curves);
    if arguments.terminal {
        let chart = draw_in_terminal(&curves, options, stdout_width(), TERMINAL_HEIGHT);
        write!(stdout(), "{}", chart.render(stdout_has_colour()))?;
        return Ok(ExitCode::SUCCESS);
    }
    save(&output, &draw_picture(&curves, options, format)?)?;
    writeln!(stdout(), "{}", output.display())?;
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// At least one, each once.
    fn runs(&self) -> Result<Vec<RunDirectory>> {
        if self.runs.is_empty() {
            return Ok(vec![find_run(&DISK, &self.runs_dir, None)?]);
        }
        let mut runs: Vec<RunDirectory> = Vec::new();
        for name in &self.runs {
            let run = find_run(&DISK, &self.runs_dir, Some(&name_from_here(name)))?;
            if !runs.contains(&run) {
                runs.push(run);
            }
        }
        Ok(runs)
    }

    /// A directory that the user named has to be there: one that is mistyped would be made.
    fn output(&self, run: &RunDirectory) -> Result<PathBuf> {
        let Some(path) = self.output.as_deref().map(from_here) else {
            return Ok(run.plots_dir().join(format!("{}.png", self.y.replace('/', "-"))));
        };
        match parent_of(&path) {
            parent if parent.is_dir() => Ok(path.clone()),
            parent => Err(Error::input(format!("-o {}: there is no directory {}", path.display(), parent.display()))
                .hint(format!("make it first: mkdir -p {}", parent.display()))),
        }
    }

    fn curve(&self, run: &RunDirectory) -> Result<Curve> {
        let options = self.options();
        let mut curve = Curve::read_quantity(&DISK, run, &self.y, options.x_axis, options.smooth)?;
        if self.no_learning_rate {
            curve.learning_rate.clear();
        }
        Ok(curve)
    }

    fn options(&self) -> PlotOptions {
        let x_axis = match self.x {
            Unit::Steps => XAxis::Steps,
            Unit::Tokens => XAxis::Tokens,
        };
        PlotOptions { x_axis, smooth: self.smooth, is_log: self.log }
    }
}

fn warn_of_empty(curves: &[Curve]) {
    for curve in curves.iter().filter(|curve| curve.raw.is_empty()) {
        eprintln!("warning: {} has no steps yet", curve.label);
    }
}

/// Whole or not at all. What cannot be written where the user asked for it is the user's to change.
fn save(path: &Path, content: &[u8]) -> Result<()> {
    create_dir_durably(&DISK, parent_of(path)).and_then(|()| write_atomically(&DISK, path, content)).map_err(Error::blame_input)
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn decay(text: &str) -> std::result::Result<f64, String> {
    let decay: f64 = text.parse().map_err(|_| "this is no number".to_owned())?;
    if (0.0..1.0).contains(&decay) { Ok(decay) } else { Err("a decay is at least 0 and below 1".to_owned()) }
}
