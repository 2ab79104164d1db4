//! Which value of a row stands under which tag. TensorBoard groups tags by what is before the first slash.

use super::event::{Content, Value};
use crate::run::{EvaluationRow, MetricsRow, SampleRow};

/// The scalars of a step.
pub(super) fn of_step(row: &MetricsRow) -> Vec<Value> {
    let scalars = [
        ("loss", row.loss),
        ("learning_rate", row.learning_rate),
        ("weight_decay", row.weight_decay),
        ("grad_norm", row.grad_norm),
        ("tokens_per_second", row.tokens_per_second),
    ];
    let known = row.mfu.map(|mfu| ("mfu", mfu));
    scalars.into_iter().chain(known).map(|(name, value)| scalar(format!("train/{name}"), value)).collect()
}

/// The scalars of an evaluation.
pub(super) fn of_evaluation(rows: &[EvaluationRow]) -> Vec<Value> {
    rows.iter().map(|row| scalar(format!("eval/{}", row.metric), row.value)).collect()
}

/// A text for each sampling mode: all its prompts with their continuations.
pub(super) fn of_samples(rows: &[SampleRow]) -> Vec<Value> {
    let mut modes: Vec<&str> = Vec::new(); // in the order of the rows
    for row in rows {
        if !modes.contains(&row.mode.as_str()) {
            modes.push(&row.mode);
        }
    }
    let text_of = |mode: &str| rows.iter().filter(|row| row.mode == mode).map(verbatim).collect::<Vec<_>>().join("\n\n---\n\n");
    modes.into_iter().map(|mode| Value { tag: format!("samples/{mode}"), content: Content::Text(text_of(mode)) }).collect()
}

fn scalar(tag: String, value: f64) -> Value {
    Value { tag, content: Content::Scalar(value) }
}

/// As Markdown that is shown as it is: indented, for no text can end that before its time.
fn verbatim(row: &SampleRow) -> String {
    let text = format!("{}{}", row.prompt, row.completion);
    text.trim_end().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(prompt: &str, mode: &str, completion: &str) -> SampleRow {
        SampleRow { step: 1, prompt: prompt.into(), mode: mode.into(), completion: completion.into() }
    }

    #[test]
    fn samples_are_one_text_a_mode_that_markdown_does_not_touch() {
        let rows = [sample("a", "greedy", "b\n```\n"), sample("a", "hot", "c"), sample("# d", "greedy", "*e*")];
        let text = |tag: &str, text: &str| Value { tag: tag.into(), content: Content::Text(text.into()) };
        let expected = [text("samples/greedy", "    ab\n    ```\n\n---\n\n    # d*e*"), text("samples/hot", "    ac")];
        assert_eq!(of_samples(&rows), expected);
    }
}
