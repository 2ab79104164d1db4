//! What was measured, as a table to read and as CSV: pure functions of the numbers that the workers sent.

use serde::{Deserialize, Serialize};

/// The step whose loss is compared, unless fewer are taken.
const COMPARED_STEP: usize = 20;

/// How far the second losses of two variants may be apart: they tell of one forward pass, one backward pass and one update.
pub const EARLY_TOLERANCE: f64 = 0.01;

/// The same of the compared step. The variants add in different orders, so now and then a weight or activation gets another code, and
/// the difference grows with every step.
pub const TOLERANCE: f64 = 0.1;

/// What a worker sends after its turn.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Of each step.
    pub seconds: Vec<f64>,
    /// Of each step, in nats per token.
    pub losses: Vec<f64>,
}

/// All that one variant did.
#[derive(Debug, Clone, Default)]
pub struct Measurement {
    /// Seconds of every step but those that warmed up.
    pub seconds: Vec<f64>,
    /// Losses of every step.
    pub losses: Vec<f64>,
    /// The most memory that the process ever held, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

/// One line of the CSV.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub config: String,
    pub variant: String,
    pub threads: i32,
    /// Variants with the same number took turns.
    pub group: usize,
    pub timed_steps: usize,
    /// Of the median step.
    pub tokens_per_second: f64,
    /// A quarter of the steps was slower.
    pub lower_quartile: f64,
    /// A quarter of the steps was faster.
    pub upper_quartile: f64,
    pub peak_memory_bytes: Option<u64>,
    /// After one update.
    pub second_loss: f64,
    /// The step that `loss` is of.
    pub loss_step: usize,
    pub loss: f64,
}

impl Measurement {
    /// Adds a turn; the seconds of one that warms up are dropped.
    pub fn add(&mut self, turn: Turn, warms_up: bool) {
        self.losses.extend(turn.losses);
        if !warms_up {
            self.seconds.extend(turn.seconds);
        }
    }

    /// The line of `variant`, whose steps have `tokens` tokens each.
    pub fn row(&self, config: &str, variant: &str, group: usize, threads: i32, tokens: usize) -> Row {
        let loss_step = self.losses.len().min(COMPARED_STEP);
        let loss = |step: usize| step.checked_sub(1).and_then(|index| self.losses.get(index)).copied().unwrap_or(f64::NAN);
        let rate = |share| tokens as f64 / quantile(&self.seconds, share);
        Row {
            config: config.to_owned(),
            variant: variant.to_owned(),
            threads,
            group,
            timed_steps: self.seconds.len(),
            tokens_per_second: rate(0.5),
            lower_quartile: rate(0.75),
            upper_quartile: rate(0.25),
            peak_memory_bytes: self.peak_memory_bytes,
            second_loss: loss(2),
            loss_step,
            loss: loss(loss_step),
        }
    }
}

/// The value below which a `share` of `values` lies, between two of them in proportion; NaN of none.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    match (sorted.get(below), sorted.get(above)) {
        (Some(below), Some(above)) => below + (above - below) * place.fract(),
        _ => f64::NAN,
    }
}

/// The rows of one config as a Markdown table; the first is what the others are compared with.
pub fn table(rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let loss = format!("loss at step {}", first.loss_step);
    let head = [&first.config, "tokens/s", "middle half of steps", "first is faster by", "peak memory", &loss].map(str::to_owned);
    let body = rows.iter().map(|row| {
        [
            row.variant.clone(),
            format!("{:.0}", row.tokens_per_second),
            format!("{:.0} to {:.0}", row.lower_quartile, row.upper_quartile),
            format!("{:.2} x", first.tokens_per_second / row.tokens_per_second),
            row.peak_memory_bytes.map_or_else(|| "unknown".to_owned(), |bytes| format!("{:.2} GB", bytes as f64 / 1e9)),
            format!("{:.4}", row.loss),
        ]
    });
    markdown(&std::iter::once(head).chain(body).collect::<Vec<_>>())
}

/// Cells as a Markdown table with aligned columns, the first to the left; the first row is the head.
pub fn markdown<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(2);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |cells: [String; COLUMNS]| format!("| {} |\n", cells.join(" | "));
    let cell = |row: &[String; COLUMNS], column: usize| match (column, widths[column]) {
        (0, width) => format!("{:<width$}", row[0]),
        (_, width) => format!("{:>width$}", row[column]),
    };
    let rule = |column: usize| if column == 0 { "-".repeat(widths[0]) } else { format!("{}:", "-".repeat(widths[column] - 1)) };
    let mut lines: Vec<String> = rows.iter().map(|row| line(std::array::from_fn(|column| cell(row, column)))).collect();
    lines.insert(lines.len().min(1), line(std::array::from_fn(rule)));
    lines.concat()
}

/// Which variants learned otherwise than the first: their losses are further apart than [`EARLY_TOLERANCE`] or [`TOLERANCE`].
pub fn disagreement(rows: &[Row]) -> Option<String> {
    let first = rows.first()?;
    let is_far = |one: f64, other: f64, tolerance: f64| one.is_nan() || (one - other).abs() > tolerance;
    let learned_otherwise =
        |row: &&Row| is_far(row.second_loss, first.second_loss, EARLY_TOLERANCE) || is_far(row.loss, first.loss, TOLERANCE);
    let losses = |row: &Row| format!("{:.4} and {:.4} ({})", row.second_loss, row.loss, row.variant);
    let far: Vec<String> = rows.iter().filter(learned_otherwise).map(losses).collect();
    let steps = format!("{}: losses at steps 2 and {}", first.config, first.loss_step);
    (!far.is_empty()).then(|| format!("{steps} are too far from {}: {}", losses(first), far.join(", ")))
}

/// Writes `rows` with a head of column names.
pub fn write_csv(rows: &[Row], writer: impl std::io::Write) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(writer);
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    writer.flush().map_err(csv::Error::from)
}
