//! What was found, as JSON for programs and as Markdown for people.

use super::Scale;
use crate::Result;
use crate::storage::{FileSystem, write_atomically};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;

/// What one part found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Whether it is as it has to be; none where something was only measured.
    pub is_right: Option<bool>,
    /// In a sentence.
    pub summary: String,
    /// For people.
    pub table: Table,
    /// For programs: the same numbers with their names.
    pub numbers: Value,
}

/// Text in rows and columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// What stands above it.
    pub title: String,
    /// The names of the columns.
    pub header: Vec<String>,
    /// As long as the header, each.
    pub rows: Vec<Vec<String>>,
}

/// How a part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is as it has to be.
    Right,
    /// It is not.
    Wrong,
    /// There is no right or wrong.
    Measured,
    /// It ended without a finding.
    Failed,
    /// There was no time for it.
    Skipped,
    /// It is still to come.
    Waiting,
}

/// A part and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartReport {
    pub name: String,
    pub verdict: Verdict,
    pub seconds: f64,
    /// Of the finding, or why there is none.
    pub summary: String,
    pub finding: Option<Finding>,
}

/// Everything, as far as it is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Of this program.
    pub version: String,
    /// When it began, in seconds since 1970.
    pub unix_time: u64,
    pub scale: Scale,
    /// What there was time for.
    pub budget_seconds: f64,
    pub parts: Vec<PartReport>,
}

impl Table {
    pub(super) fn new(title: &str, header: &[&str]) -> Self {
        Self { title: title.to_owned(), header: header.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn push<const COLUMNS: usize>(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row.into());
    }
}

impl Verdict {
    /// As in the tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "WRONG",
            Self::Measured => "measured",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
            Self::Waiting => "waiting",
        }
    }
}

impl Report {
    /// Whether nothing was found wrong and nothing failed.
    pub fn is_right(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part.verdict, Verdict::Wrong | Verdict::Failed))
    }

    /// Writes `check-gpu.json` and `check-gpu.md` into `dir`, each whole.
    pub fn write(&self, fs: &dyn FileSystem, dir: &Path) -> Result<()> {
        write_atomically(fs, &dir.join("check-gpu.json"), &serde_json::to_vec_pretty(self)?)?;
        write_atomically(fs, &dir.join("check-gpu.md"), self.markdown().as_bytes())
    }

    /// A table of the parts, and below it what each found; tables of one title are one.
    pub fn markdown(&self) -> String {
        let mut overview = Table::new("", &["part", "verdict", "seconds", "finding"]);
        for part in &self.parts {
            let seconds = format!("{:.1}", part.seconds);
            overview.push([part.name.clone(), part.verdict.word().to_owned(), seconds, part.summary.replace(['\n', '|'], " ")]);
        }
        let scale = format!("{:?}", self.scale).to_lowercase();
        let mut text = format!("# check-gpu\n\nVersion {}, scale {scale}, at most {:.0} s.\n\n", self.version, self.budget_seconds);
        push_table(&mut text, &overview);
        let mut tables: Vec<Table> = Vec::new();
        for table in self.parts.iter().filter_map(|part| part.finding.as_ref()).map(|finding| &finding.table) {
            match tables.iter_mut().find(|other| other.title == table.title && other.header == table.header) {
                Some(other) => other.rows.extend(table.rows.iter().cloned()),
                None => tables.push(table.clone()),
            }
        }
        for table in tables {
            let _ = write!(text, "\n## {}\n\n", table.title);
            push_table(&mut text, &table);
        }
        text
    }
}

fn push_table(text: &mut String, table: &Table) {
    let mut line = |cells: &[String]| text.push_str(&format!("| {} |\n", cells.join(" | ")));
    line(&table.header);
    line(&vec!["---".to_owned(); table.header.len()]);
    table.rows.iter().for_each(|row| line(row));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, verdict: Verdict, row: &str) -> PartReport {
        let mut table = Table::new("Speed", &["model", "tokens a second"]);
        table.push([row.to_owned(), "7".to_owned()]);
        let finding = Finding { is_right: None, summary: "fast".into(), table, numbers: serde_json::json!({ "speed": 7 }) };
        PartReport { name: name.into(), verdict, seconds: 1.25, summary: "a | b".into(), finding: Some(finding) }
    }

    fn report(parts: Vec<PartReport>) -> Report {
        Report { version: "0.1.0".into(), unix_time: 1, scale: Scale::Tiny, budget_seconds: 60.0, parts }
    }

    #[test]
    fn tables_of_one_title_are_one_in_markdown() {
        let text = report(vec![part("one", Verdict::Right, "12m"), part("two", Verdict::Measured, "95m")]).markdown();
        assert_eq!(text.matches("## Speed").count(), 1, "{text}");
        assert!(text.contains("| one | right | 1.2 | a   b |\n"), "{text}");
        assert!(text.ends_with("| model | tokens a second |\n| --- | --- |\n| 12m | 7 |\n| 95m | 7 |\n"), "{text}");
    }

    #[test]
    fn only_what_is_wrong_or_failed_spoils_a_report() {
        for (verdict, is_right) in [
            (Verdict::Right, true),
            (Verdict::Measured, true),
            (Verdict::Skipped, true),
            (Verdict::Waiting, true),
            (Verdict::Wrong, false),
            (Verdict::Failed, false),
        ] {
            assert_eq!(report(vec![part("one", Verdict::Right, "a"), part("two", verdict, "b")]).is_right(), is_right, "{verdict:?}");
        }
    }
}
