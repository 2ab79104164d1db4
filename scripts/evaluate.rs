//! Scores a run's newest whole checkpoint on held-out problems or text.

use bitnet::Result;
use bitnet::cli::{name_from_here, run_program, say_passed_over};
use bitnet::config::{ArithmeticConfig, DataConfig, DeviceChoice, Experiment};
use bitnet::data::Corpus;
use bitnet::error::counted;
use bitnet::libtorch::caught;
use bitnet::model::{LoadedModel, select_device};
use bitnet::run::{EvaluationRow, find_run};
use bitnet::storage::DISK;
use bitnet::tasks::{Arithmetic, Task};
use bitnet::train::{HeldOutText, evaluate_questions};
use clap::Parser;
use serde_json::json;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  evaluate                      the newest run
  evaluate mine                 a run by id, unique prefix or path
  evaluate mine --problems 100  fewer problems of each operator
  evaluate mine --json          for programs";

/// Scores a run's newest whole checkpoint on held-out problems or text
#[derive(Debug, Parser)]
#[command(name = "evaluate", version, after_help = EXAMPLES)]
struct Arguments {
    /// A run's id, a unique prefix of it, or its path; the newest run when absent
    run: Option<String>,
    /// Held-out problems of each operator, or sequences of text; all of them when absent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    problems: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Where the model runs
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,
    /// Where runs lie
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs_dir: PathBuf,
}

fn main() -> ExitCode {
    run_program(|arguments| caught(|| evaluate(arguments)))
}

fn evaluate(arguments: Arguments) -> Result<ExitCode> {
    let run = find_run(&DISK, &arguments.runs_dir, arguments.run.as_deref().map(name_from_here).as_deref())?;
    let experiment = run.read_config()?;
    let checkpoint = run.newest_checkpoint(&DISK, &mut say_passed_over)?;
    let model = LoadedModel::load(checkpoint.path(), select_device(arguments.device)?, experiment.precision)?;
    let report = match &experiment.data {
        DataConfig::Arithmetic(arithmetic) => problems_report(&arguments, &run.id(), &experiment, arithmetic, &model, checkpoint.step())?,
        DataConfig::Text(_) => text_report(&arguments, &run.id(), &experiment, &model, checkpoint.step())?,
    };
    writeln!(stdout(), "{report}")?;
    Ok(ExitCode::SUCCESS)
}

fn problems_report(
    arguments: &Arguments,
    id: &str,
    experiment: &Experiment,
    arithmetic: &ArithmeticConfig,
    model: &LoadedModel,
    step: u64,
) -> Result<String> {
    let most = arguments.problems.map_or(usize::MAX, |problems| problems as usize);
    let questions = Task::arithmetic(arithmetic)?.held_out_questions(experiment.seed, most);
    let rows = evaluate_questions(&model.decoder, &questions, &model.tokenizer, step)?;
    let floor = Arithmetic::new(arithmetic)?.entropy_floor();
    if arguments.json { as_json(&rows, floor, id, questions.len()) } else { Ok(as_text(&rows, floor, id, questions.len())) }
}

/// Measures of the held-out part of the corpus: loss, perplexity, bits per byte.
fn text_report(arguments: &Arguments, id: &str, experiment: &Experiment, model: &LoadedModel, step: u64) -> Result<String> {
    let most = arguments.problems.map_or(usize::MAX, |sequences| sequences as usize);
    let held_out = HeldOutText::new(experiment, &Corpus::of(experiment)?.open()?, &model.tokenizer, most)?;
    let rows = held_out.evaluate(&model.decoder, step)?;
    if arguments.json {
        let metrics: serde_json::Map<_, _> = rows.iter().map(|row| (row.metric.clone(), json!(row.value))).collect();
        let report = json!({ "run": id, "step": step, "tokens": held_out.num_tokens(), "metrics": metrics });
        return Ok(serde_json::to_string_pretty(&report)?);
    }
    let mut lines = vec![format!("{id}, step {step}, {} held-out tokens", held_out.num_tokens())];
    lines.extend(rows.iter().map(|row| format!("  {:<14} {:>8.4}", row.metric.replace('_', " "), row.value)));
    Ok(lines.join("\n"))
}

fn as_json(rows: &[EvaluationRow], floor: f64, id: &str, num_problems: usize) -> Result<String> {
    let metrics: serde_json::Map<_, _> = rows.iter().map(|row| (row.metric.clone(), json!(row.value))).collect();
    let step = rows.first().map(|row| row.step);
    let report = json!({ "run": id, "step": step, "problems": num_problems, "metrics": metrics, "entropy_floor_of_all_tokens": floor });
    Ok(serde_json::to_string_pretty(&report)?)
}

fn as_text(rows: &[EvaluationRow], floor: f64, id: &str, num_problems: usize) -> String {
    let step = rows.first().map_or(0, |row| row.step);
    let problems = counted(num_problems as u64, "problem");
    let mut lines = vec![format!("{id}, step {step}, {problems} on pairs that training never saw")];
    for row in rows {
        lines.push(match row.metric.strip_prefix("exact_match") {
            Some("") => format!("  {:<12} {:>6.1} %", "all", 100.0 * row.value),
            Some(group) => format!("  {:<12} {:>6.1} %", &group[1..], 100.0 * row.value),
            None => format!("  answer {:<5} {:>6.3} nats a token (ln of the vocabulary before training, 0 at best)", row.metric, row.value),
        });
    }
    lines.push(format!("  for comparison: a loss over all tokens, operands too, cannot fall below {floor:.3} nats"));
    lines.join("\n")
}
