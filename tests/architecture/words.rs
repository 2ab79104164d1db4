//! Code as words, and the paths that stand in it: what `use` brings in, and what is named in full.

/// Names in the order in which they are written: `["crate", "run", "Status"]`.
pub type Path = Vec<String>;

/// What `use` brings in.
#[derive(Debug, PartialEq)]
pub struct Import {
    /// What the file calls it; `*` for everything.
    pub name: String,
    pub path: Path,
    /// Whether it is passed on, as by `pub use`.
    pub is_public: bool,
}

/// Names, numbers and signs; signs that belong together are one word.
pub fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_part(first) {
            rest.find(|c| !is_part(c)).unwrap_or(rest.len())
        } else {
            ["::", "=>", "==", "!="].iter().find(|sign| rest.starts_with(**sign)).map_or(first.len_utf8(), |sign| sign.len())
        };
        words.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    words
}

pub fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Every import of some code, and its words without them.
pub fn split_imports<'a>(words: &[&'a str]) -> (Vec<Import>, Vec<&'a str>) {
    let (mut imports, mut others) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < words.len() {
        if words[at] == "use" && words.get(at + 1).is_some_and(|next| is_name(next)) {
            let is_public = matches!(others.last(), Some(&"pub" | &")"));
            at = read_tree(words, at + 1, &Path::new(), is_public, &mut imports) + 1;
        } else {
            others.push(words[at]);
            at += 1;
        }
    }
    (imports, others)
}

/// Reads `a::{b, c as d}` from `at` on; gives the place of what ends it.
fn read_tree(words: &[&str], mut at: usize, parent: &Path, is_public: bool, imports: &mut Vec<Import>) -> usize {
    let mut path = parent.clone();
    loop {
        match words.get(at).copied().unwrap_or(";") {
            "{" => {
                while !matches!(words.get(at), None | Some(&"}")) {
                    at = read_tree(words, at + 1, &path, is_public, imports);
                }
                return at + 1;
            }
            "as" => {
                imports.push(Import { name: words[at + 1].to_owned(), path, is_public });
                return at + 2;
            }
            "," | ";" | "}" => {
                path.pop_if(|last| last == "self");
                if path.len() > parent.len() || !path.is_empty() && words[at - 1] == "self" {
                    imports.push(Import { name: path[path.len() - 1].clone(), path, is_public });
                }
                return at;
            }
            "::" => at += 1,
            name => {
                path.push(name.to_owned());
                at += 1;
            }
        }
    }
}

/// The paths of two names and more.
pub fn paths(words: &[&str]) -> Vec<Path> {
    let starts = (0..words.len()).filter(|&at| is_name(words[at]) && (at == 0 || words[at - 1] != "::"));
    starts.map(|at| path_from(words, at)).filter(|path| path.len() > 1).collect()
}

/// The path that begins at `at`.
pub fn path_from(words: &[&str], at: usize) -> Path {
    let mut path = vec![words[at].to_owned()];
    for pair in words[at + 1..].chunks_exact(2) {
        match pair {
            ["::", name] if is_name(name) => path.push((*name).to_owned()),
            _ => break,
        }
    }
    path
}
