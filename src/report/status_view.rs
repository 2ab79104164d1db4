//! A run's status as a page for people, and the table of all runs. What the numbers are is the business of `run`.

use super::fields::{LABEL_WIDTH, push_field};
use super::samples::sample_lines;
use super::styled::{Emphasis, Styled, printable, shortened};
use super::units::{count, duration, number, share};
use crate::run::{CodesSummary, EvaluationSummary, SampleRow, State, Status};

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

/// A line for each run under a line of headings, in lines of at most `width` characters.
pub fn run_table(statuses: &[Status], width: usize) -> Styled {
    let rows: Vec<[String; 7]> = statuses.iter().map(table_row).collect();
    let headings = ["run", "state", "step", "done", "loss", "tokens/s", "eta"];
    let widths: [usize; 7] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).chain([headings[column].len()]).max().unwrap_or(0));
    let others: usize = widths[1..].iter().map(|width| width + 2).sum();
    let id_width = widths[0].min(width.saturating_sub(others).max(12));
    let line = |cells: &[String; 7], emphasis: Emphasis, text: &mut Styled| {
        text.push(Emphasis::Plain, format!("{:id_width$}  ", shortened(&cells[0], id_width)));
        text.push(emphasis, format!("{:1$}", cells[1], widths[1]));
        let numbers: String = (2..7).map(|column| format!("  {:>1$}", cells[column], widths[column])).collect();
        text.push(Emphasis::Plain, numbers).end_line();
    };
    let mut text = Styled::default();
    line(&headings.map(str::to_owned), Emphasis::Plain, &mut text);
    rows.iter().zip(statuses).for_each(|(row, status)| line(row, emphasis_of(status.state), &mut text));
    text
}

fn table_row(status: &Status) -> [String; 7] {
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    [
        status.id.clone(),
        status.state.to_string(),
        count(status.step),
        or_unknown(status.percent.map(|percent| format!("{percent:.0} %"))),
        or_unknown(status.loss_average.map(number)),
        or_unknown(status.tokens_per_second.map(|rate| count(rate.round() as u64))),
        or_unknown(status.eta_seconds.map(duration)),
    ]
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
        if let Some(reason) = &status.reason {
            self.field("why", &printable(reason));
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
    let trend = status.loss_trend_per_1000_steps.map_or(String::new(), |slope| match slope {
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
