//! A label and its value, on as many lines as the value needs.

use super::styled::{Emphasis, Styled, shortened};

/// Columns of a label.
pub(super) const LABEL_WIDTH: usize = 15;

/// Adds `value` under `label` to `text`, in lines of at most `width` characters.
pub(super) fn push_field(text: &mut Styled, width: usize, label: &str, value: &str) {
    let room = width.saturating_sub(LABEL_WIDTH).max(10);
    for (index, line) in wrapped(value, room).iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        text.push(Emphasis::Faint, format!("{label:LABEL_WIDTH$}")).push(Emphasis::Plain, line).end_line();
    }
}

/// Breaks at spaces; a word longer than a line is cut.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let used = lines[last].chars().count();
        if used > 0 && used + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            let gap = if used > 0 { " " } else { "" };
            lines[last] += &format!("{gap}{word}");
        }
    }
    lines.iter().map(|line| shortened(line, width)).collect()
}
