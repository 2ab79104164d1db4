//! docs/config.md has every key of a config with what it holds and means: the schema's keys with the comments of the structs that they come
//! from. `UPDATE_SNAPSHOTS=1 just test tests/config_reference.rs` writes it anew.

use bitnet::config::schema_keys;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

const FILES: [&str; 5] = ["experiment", "model", "text", "data", "train"];
const OPENING: &str = "\
# Keys of a config

Every key of an experiment's `config.yaml`. None has a default: a config holds them all, and of a value with several kinds one. Each can be
set for one run, `--set train.optimizer.learning_rate=1e-3`; a key below a kind chooses it,
`--set data.text.held_out.end_of_each_document_percent=5`; lists and whole sections are written as YAML, `--set 'sampling.prompts=[a, b]'`.
`just train-arithmetic --dry-run` prints a config as it would be used. This page is made from the code by `tests/config_reference.rs`.
";

/// A struct or an enum: its comment, and its fields or variants with type and comment.
#[derive(Default)]
struct Item {
    comment: String,
    is_enum: bool,
    members: Vec<Member>,
}

struct Member {
    name: String,
    holds: Option<String>,
    comment: String,
}

/// The public structs and enums of the config, by name.
fn items() -> BTreeMap<String, Item> {
    let mut items = BTreeMap::new();
    for file in FILES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/config/{file}.rs"));
        read_items(&fs::read_to_string(path).unwrap(), &mut items);
    }
    items
}

fn read_items(source: &str, items: &mut BTreeMap<String, Item>) {
    let (mut comment, mut open): (Vec<&str>, Option<(String, Item)>) = (Vec::new(), None);
    for line in source.lines() {
        let trimmed = line.trim();
        let head = trimmed.strip_suffix(" {").and_then(|head| head.strip_prefix("pub "));
        let head = head.and_then(|head| head.split_once(' ')).filter(|(kind, _)| ["struct", "enum"].contains(kind));
        if let Some(text) = trimmed.strip_prefix("///") {
            comment.push(text.trim());
            continue;
        } else if trimmed.starts_with("#[") {
            continue;
        } else if let Some((kind, name)) = head {
            open = Some((name.to_owned(), Item { comment: comment.join(" "), is_enum: kind == "enum", members: Vec::new() }));
        } else if line == "}" {
            items.extend(open.take());
        } else if let Some((_, item)) = &mut open {
            item.members.extend(member(trimmed, item.is_enum, comment.join(" ")));
        }
        comment.clear();
    }
}

/// `pub name: Type,` of a struct, `Name,` or `Name(Type),` of an enum.
fn member(line: &str, is_enum: bool, comment: String) -> Option<Member> {
    let line = line.strip_suffix(',')?;
    let (name, holds) = match is_enum {
        false => line.strip_prefix("pub ")?.split_once(": ").map(|(name, holds)| (name.to_owned(), Some(holds.to_owned())))?,
        true => match line.split_once('(') {
            Some((name, holds)) => (snake(name), Some(holds.trim_end_matches(')').to_owned())),
            None => (snake(line), None),
        },
    };
    Some(Member { name, holds, comment })
}

fn snake(name: &str) -> String {
    let separated = name.char_indices().map(|(at, c)| if at > 0 && c.is_uppercase() { format!("_{c}") } else { c.to_string() });
    separated.collect::<String>().to_lowercase()
}

/// The page as it grows: sections in the order of the structs.
struct Reference {
    items: BTreeMap<String, Item>,
    kinds: BTreeMap<String, String>,
    sections: Vec<(String, String, Vec<[String; 3]>)>,
}

impl Reference {
    fn section(&mut self, path: &str, name: &str) {
        let item = self.items.remove(name).unwrap_or_else(|| panic!("{path}: {name} was not found"));
        let at = self.sections.len();
        self.sections.push((path.to_owned(), item.comment.clone(), Vec::new()));
        for member in &item.members {
            let path = if path.is_empty() { member.name.clone() } else { format!("{path}.{}", member.name) };
            self.value(at, &path, member.holds.as_deref().unwrap_or_default(), &member.comment);
        }
        self.items.insert(name.to_owned(), item);
    }

    /// A row in section `at`, or a section of its own.
    fn value(&mut self, at: usize, path: &str, holds: &str, comment: &str) {
        let inner = holds.trim_start_matches("Option<").trim_start_matches("Vec<").trim_end_matches('>');
        let (is_enum, is_struct) = self.items.get(inner).map_or((false, false), |item| (item.is_enum, !item.is_enum));
        if is_struct && holds.starts_with("Vec<") {
            self.row(at, path, comment.to_owned());
            return self.section(&format!("{path}[]"), inner);
        }
        if is_struct {
            return self.section(path, inner);
        }
        let mut meaning = comment.to_owned();
        let kinds: Vec<(String, Option<String>, String)> = match is_enum {
            true => self.items[inner].members.iter().map(|kind| (kind.name.clone(), kind.holds.clone(), kind.comment.clone())).collect(),
            false => Vec::new(),
        };
        for (kind, _, comment) in kinds.iter().filter(|(_, holds, comment)| holds.is_none() && !comment.is_empty()) {
            write!(meaning, " `{kind}`: {comment}").unwrap();
        }
        self.row(at, path, meaning);
        for (kind, holds, comment) in kinds {
            if let Some(holds) = holds {
                self.value(at, &format!("{path}.{kind}"), &holds, &comment);
            }
        }
    }

    fn row(&mut self, at: usize, path: &str, meaning: String) {
        let kind = self.kinds.get(path).cloned().unwrap_or_else(|| match path.contains("[]") {
            true => "of each".to_owned(),
            false => "one of its kinds".to_owned(),
        });
        self.sections[at].2.push([path.to_owned(), kind, meaning]);
    }

    fn page(&self) -> String {
        let mut page = OPENING.to_owned();
        for (path, comment, rows) in self.sections.iter().filter(|(_, _, rows)| !rows.is_empty()) {
            let title = if path.is_empty() { "The top level".to_owned() } else { format!("`{path}`") };
            write!(page, "\n## {title}\n\n{comment}\n\n| key | holds | meaning |\n|---|---|---|\n").unwrap();
            for [key, kind, meaning] in rows {
                writeln!(page, "| `{key}` | {kind} | {} |", meaning.replace('|', "\\|")).unwrap();
            }
        }
        page
    }
}

#[test]
fn docs_config_md_has_every_key_with_its_type_and_meaning() {
    let kinds: BTreeMap<String, String> = schema_keys().unwrap().into_iter().map(|key| (key.path, key.kind)).collect();
    let mut reference = Reference { items: items(), kinds: kinds.clone(), sections: Vec::new() };
    reference.section("", "Experiment");
    let rows: Vec<&[String; 3]> = reference.sections.iter().flat_map(|(_, _, rows)| rows).collect();
    let missing: Vec<&String> = kinds.keys().filter(|key| !rows.iter().any(|row| row[0] == **key)).collect();
    assert!(missing.is_empty(), "keys that the structs' comments do not lead to: {missing:?}");
    let page = reference.page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let reviewed = fs::read_to_string(&path).unwrap_or_default();
    assert!(page == reviewed, "{} is not up to date; UPDATE_SNAPSHOTS=1 accepts what the code says", path.display());
}
