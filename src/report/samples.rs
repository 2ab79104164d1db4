//! Sampled text as lines for people.

use super::styled::printable;
use crate::run::SampleRow;

/// A line for each row: prompt and continuation, behind the name of the mode where there are several.
pub fn sample_lines(rows: &[SampleRow]) -> impl Iterator<Item = String> {
    let has_modes = rows.windows(2).any(|pair| pair[0].mode != pair[1].mode);
    rows.iter().map(move |row| {
        let mode = if has_modes { format!("{}: ", row.mode) } else { String::new() };
        printable(format!("{mode}{}{}", row.prompt, row.completion).trim_end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(modes: [&str; 2]) -> Vec<String> {
        let rows = modes.map(|mode| SampleRow { step: 1, prompt: "a\n".into(), mode: mode.into(), completion: "b\n".into() });
        sample_lines(&rows).collect()
    }

    #[test]
    fn the_mode_is_named_where_there_are_several() {
        assert_eq!(lines(["greedy", "greedy"]), ["a\\nb", "a\\nb"]);
        assert_eq!(lines(["greedy", "hot"]), ["greedy: a\\nb", "hot: a\\nb"]);
    }
}
