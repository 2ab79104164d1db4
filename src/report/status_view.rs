//! A run's status as a page for people, and the table of all runs. What the numbers are is the business of `run`.

use super::fields::{LABEL_WIDTH, push_field};
use super::samples::sample_lines;
use super::styled::{Emphasis, Styled, printable, shortened};
use super::units::{count, date, duration, number, share};
use crate::run::{CodesSummary, EvaluationSummary, SampleRow, State, Status, short_count};

const BAR_WIDTH: usize = 24;
const UNKNOWN: &str = "-";

/// The page of one run, in lines of at most `width` characters.
pub fn status_view(status: &Status, width: usize) -> Styled {
    let mut page = Page { text: Styled::default(), width };
    page.heading(status);
    page.training(status);
    page.speed(status);
    if let Some(evaluation) = &status.evaluation {
        page.evaluation(evaluation);
    }
    page.samples(&status.samples);
    if let Some(codes) = &status.codes {
        page.field("codes", &codes_text(codes));
    }
    page.checkpoint(status);
    page.problems(status);
    page.field("path", &status.path);
    page.text
}

/// A line for each run under a line of headings. Where `width` is too narrow, the columns that compare least are left out.
pub fn run_table(statuses: &[Status], width: usize) -> Styled {
    let mut columns: Vec<Column> = COLUMNS.iter().map(|(heading, cell)| Column::new(heading, statuses.iter().map(cell))).collect();
    for heading in LEFT_OUT {
        let needed: usize = columns.iter().map(|column| column.width + 2).sum();
        if needed > width + 2 {
            columns.retain(|column| column.heading != heading);
        }
    }
    let others: usize = columns[1..].iter().map(|column| column.width + 2).sum();
    let id_width = columns[0].width.min(width.saturating_sub(others).max(12));
    let mut text = Styled::default();
    for row in 0..=statuses.len() {
        let emphasis = row.checked_sub(1).map_or(Emphasis::Plain, |index| emphasis_of(statuses[index].state));
        text.push(Emphasis::Plain, format!("{:id_width$}  ", shortened(&columns[0].cells[row], id_width)));
        text.push(emphasis, format!("{:1$}", columns[1].cells[row], columns[1].width));
        let numbers: String = columns[2..].iter().map(|column| format!("  {:>1$}", column.cells[row], column.width)).collect();
        text.push(Emphasis::Plain, numbers).end_line();
    }
    text
}

/// What a column says of a run.
type Cell = fn(&Status) -> String;

/// What a column is called, and what it says of a run. The first two always stay.
const COLUMNS: [(&str, Cell); 11] = [
    ("run", |status| status.id.clone()),
    ("state", |status| format!("{}{}", status.state, if status.divergence.is_some() { ", diverged" } else { "" })),
    ("step", |status| count(status.step)),
    ("done", |status| or_unknown(status.percent.map(|percent| format!("{percent:.0} %")))),
    ("loss", |status| or_unknown(status.loss_average.map(number))),
    ("held out", |status| or_unknown(status.held_out_loss.map(number))),
    ("params", |status| or_unknown(status.num_parameters.map(short_count))),
    ("experiment", |status| or_unknown(status.experiment.as_deref().map(printable))),
    ("begun", |status| or_unknown(status.started_unix_time.and_then(date))),
    ("tokens/s", |status| or_unknown(status.tokens_per_second.map(|rate| count(rate.round() as u64)))),
    ("eta", |status| or_unknown(status.eta_seconds.map(duration))),
];
/// In this order, until the table fits.
const LEFT_OUT: [&str; 6] = ["tokens/s", "begun", "experiment", "eta", "params", "step"];

struct Column {
    heading: &'static str,
    /// The heading, and one of each run.
    cells: Vec<String>,
    width: usize,
}

impl Column {
    fn new(heading: &'static str, cells: impl Iterator<Item = String>) -> Self {
        let cells: Vec<String> = std::iter::once(heading.to_owned()).chain(cells).collect();
        let width = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or_default();
        Self { heading, cells, width }
    }
}

fn or_unknown(text: Option<String>) -> String {
    text.unwrap_or_else(|| UNKNOWN.to_owned())
}

fn emphasis_of(state: State) -> Emphasis {
    match state {
        State::Running | State::Finished => Emphasis::Good,
        State::Starting | State::Stopped => Emphasis::Plain,
        State::Stalled => Emphasis::Warning,
        State::Failed => Emphasis::Bad,
    }
}

struct Page {
    text: Styled,
    width: usize,
}

impl Page {
    fn field(&mut self, label: &str, value: &str) {
        push_field(&mut self.text, self.width, label, value);
    }

    fn heading(&mut self, status: &Status) {
        let id = shortened(&status.id, self.width.saturating_sub(12).max(10));
        self.text.push(Emphasis::Bold, id).push(Emphasis::Plain, "  ");
        self.text.push(emphasis_of(status.state), status.state.to_string()).end_line();
        for line in status.reason.iter().flat_map(|reason| reason.lines()) {
            let (label, text) = line.strip_prefix("hint: ").map_or(("why", line), |hint| ("hint", hint));
            self.field(label, &printable(text)); // events of older versions hold the hint too
        }
        let mut progress = format!("step {}", count(status.step));
        if let (Some(num_steps), Some(percent)) = (status.num_steps, status.percent) {
            let filled = ((percent / 100.0 * BAR_WIDTH as f64) as usize).min(BAR_WIDTH);
            let bar = format!("[{}{}]", "#".repeat(filled), ".".repeat(BAR_WIDTH - filled));
            progress = format!("{bar} {percent:.1} %, {progress} of {}", count(num_steps));
        }
        self.field("progress", &progress);
        self.field("tokens", &count(status.tokens));
    }

    fn training(&mut self, status: &Status) {
        self.field("loss", &loss_text(status));
        if let Some(divergence) = &status.divergence {
            self.field("diverged", divergence);
        }
        let rows = [("learning rate", status.learning_rate), ("weight decay", status.weight_decay), ("gradient norm", status.grad_norm)];
        for (label, value) in rows {
            self.field(label, &value.map_or(UNKNOWN.to_owned(), number));
        }
        if status.skipped_steps > 0 {
            self.field("skipped steps", &format!("{}: loss or gradient was not finite", count(status.skipped_steps)));
        }
    }

    fn speed(&mut self, status: &Status) {
        let rate = status.tokens_per_second.map(|rate| format!("{} tokens/s", count(rate.round() as u64)));
        let pace = status.step_seconds.map(|seconds| format!("{} s a step", number(seconds)));
        let speed = [rate, pace].into_iter().flatten().collect::<Vec<_>>().join(", ");
        self.field("speed", if speed.is_empty() { UNKNOWN } else { &speed });
        let mut time = format!("{} of steps", duration(status.training_seconds));
        if let Some(age) = status.last_row_age_seconds {
            time += &format!(", the last {} ago", duration(age));
        }
        self.field("time", &time);
        if let Some(seconds) = status.eta_seconds {
            self.field("eta", &duration(seconds));
        }
    }

    fn evaluation(&mut self, evaluation: &EvaluationSummary) {
        let metric = |(name, value): (&String, &Option<f64>)| {
            let name = printable(name);
            let is_share = name.starts_with("exact_match");
            let value = value.map_or("not finite".to_owned(), |value| if is_share { share(value) } else { number(value) });
            format!("{name} {value}")
        };
        let metrics: Vec<String> = evaluation.metrics.iter().map(metric).collect();
        self.field("evaluation", &format!("step {}: {}", count(evaluation.step), metrics.join(", ")));
    }

    fn samples(&mut self, samples: &[SampleRow]) {
        let room = self.width.saturating_sub(LABEL_WIDTH).max(10);
        for (index, line) in sample_lines(samples).enumerate() {
            let label = if index == 0 { "samples" } else { "" };
            self.text.push(Emphasis::Faint, format!("{label:LABEL_WIDTH$}")).push(Emphasis::Plain, shortened(&line, room)).end_line();
        }
    }

    fn checkpoint(&mut self, status: &Status) {
        let text = status.checkpoint.as_ref().map(|checkpoint| match checkpoint.age_seconds {
            Some(age) => format!("{}, {} ago", checkpoint.name, duration(age)),
            None => checkpoint.name.clone(),
        });
        self.field("checkpoint", text.as_deref().unwrap_or("none yet"));
    }

    fn problems(&mut self, status: &Status) {
        if status.damaged_lines > 0 {
            self.field("damaged", &format!("{} lines of the logs cannot be read", count(status.damaged_lines)));
        }
        status.problems.iter().for_each(|problem| self.field("problem", &printable(problem)));
    }
}

fn loss_text(status: &Status) -> String {
    let Some(average) = status.loss_average else { return UNKNOWN.to_owned() };
    let last = status.loss.map_or("not finite".to_owned(), number);
    let trend = status.loss_trend_per_1000_steps.filter(|_| status.divergence.is_none()).map_or(String::new(), |slope| match slope {
        0.0 => ", level".to_owned(),
        ..0.0 => format!(", falling by {} in 1,000 steps", number(-slope)),
        _ => format!(", rising by {} in 1,000 steps", number(slope)),
    });
    format!("{} (last step {last}){trend}", number(average))
}

fn codes_text(codes: &CodesSummary) -> String {
    let text = |value: Option<f64>| value.map_or(UNKNOWN.to_owned(), share);
    let flipped = codes.flipped.map_or(UNKNOWN.to_owned(), |flipped| format!("{:.2} %", 100.0 * flipped));
    let shares = format!("-1 {}, 0 {}, +1 {}", text(codes.minus), text(codes.zero), text(codes.plus));
    format!("step {}: {shares}, flipped {flipped} (mean of {} matrices)", count(codes.step), codes.num_matrices)
}

#[cfg(test)]
#[path = "status_view_tests.rs"]
mod tests;
