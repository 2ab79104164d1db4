//! Reads the tree and its Rust files as plain text: which files there are, code without comments and strings, code without tests, and
//! the modules that a piece of code names. Owns no rule; those are in architecture.rs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The top of the tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir` (relative to the root), as sorted paths relative to the root; what git ignores is left out.
pub fn files(dir: &str) -> Vec<PathBuf> {
    let mut found = known_to_git().unwrap_or_else(|| {
        let mut found = Vec::new();
        walk(root(), &mut found);
        found
    });
    found.retain(|path| path.starts_with(dir) && root().join(path).is_file());
    found.sort();
    found
}

/// What git tracks, or would; none where there is no git or no working tree.
fn known_to_git() -> Option<Vec<PathBuf>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").arg("-C").arg(root()).args(arguments).output().ok().filter(|output| output.status.success())?;
    let names = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<PathBuf> = names.split_terminator('\0').map(PathBuf::from).collect();
    (!paths.is_empty()).then_some(paths)
}

fn walk(path: &Path, found: &mut Vec<PathBuf>) {
    let relative = path.strip_prefix(root()).unwrap();
    if path.is_file() {
        return found.push(relative.to_path_buf());
    }
    for entry in fs::read_dir(path).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ignored = relative == Path::new("") && (matches!(&*name, ".git" | "target" | ".pytorch") || name.starts_with(".libtorch"))
            || relative == Path::new("runs") && name != "README.md";
        if !is_ignored && !entry.file_type().unwrap().is_symlink() {
            walk(&entry.path(), found);
        }
    }
}

/// The Rust files below the directories.
pub fn rust_files(dirs: &[&str]) -> Vec<PathBuf> {
    dirs.iter().flat_map(|dir| files(dir)).filter(|path| path.extension().is_some_and(|ending| ending == "rs")).collect()
}

/// The text of a file, its path relative to the root.
pub fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(root().join(path)).unwrap_or_default()).into_owned()
}

/// The source with every comment, string and character blanked; lines stay where they are.
pub fn code(source: &str) -> String {
    let text: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < text.len() {
        let end = token_end(&text, at);
        match end {
            Some(end) => out.extend(text[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' })),
            None => out.push(text[at]),
        }
        at = end.unwrap_or(at + 1);
    }
    out
}

/// Where the comment, string or character that begins at `at` ends, if one does.
fn token_end(text: &[char], at: usize) -> Option<usize> {
    let next = |offset: usize| text.get(at + offset).copied().unwrap_or('\0');
    let starts_word = at == 0 || !(text[at - 1].is_alphanumeric() || text[at - 1] == '_');
    match text[at] {
        '/' if next(1) == '/' => Some((at..text.len()).find(|&i| text[i] == '\n').unwrap_or(text.len())),
        '/' if next(1) == '*' => Some(block_comment_end(text, at)),
        '"' => Some(quoted_end(text, at + 1, '"')),
        '\'' if next(1) == '\\' || next(2) == '\'' => Some(quoted_end(text, at + 1, '\'')),
        'r' if starts_word || text[at - 1] == 'b' => raw_string_end(text, at),
        _ => None,
    }
}

fn block_comment_end(text: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0, at);
    while i + 1 < text.len() {
        match (text[i], text[i + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    text.len()
}

fn quoted_end(text: &[char], mut i: usize, quote: char) -> usize {
    while i < text.len() && text[i] != quote {
        i += if text[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(text.len())
}

fn raw_string_end(text: &[char], at: usize) -> Option<usize> {
    let hashes = text[at + 1..].iter().take_while(|&&c| c == '#').count();
    let start = at + 2 + hashes;
    if text.get(start - 1) != Some(&'"') {
        return None;
    }
    let closes = |&i: &usize| text[i] == '"' && text[i + 1..].iter().take_while(|&&c| c == '#').take(hashes).count() == hashes;
    Some((start..text.len()).find(closes).map_or(text.len(), |i| i + 1 + hashes))
}

/// The code without what `#[cfg(test)]` stands before: blanked, so that lines stay where they are.
pub fn code_without_tests(source: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut code: Vec<char> = code(source).chars().collect();
    let mark: Vec<char> = MARK.chars().collect();
    for at in 0..code.len() {
        if code[at..].starts_with(&mark) {
            let end = item_end(&code, at + mark.len());
            code[at..end].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
        }
    }
    code.into_iter().collect()
}

/// Where the item that begins at `at` ends: behind its `;`, or behind the brace that closes its first one.
fn item_end(code: &[char], at: usize) -> usize {
    let mut depth = 0;
    for (i, &c) in code.iter().enumerate().skip(at) {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return i + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return i + 1,
            _ => {}
        }
    }
    code.len()
}

/// The files that are compiled for tests alone: those that a `#[cfg(test)] mod name;` brings in, with its `#[path]` if it has one.
pub fn test_only_files(sources: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for path in sources {
        let source = read(path);
        let lines: Vec<&str> = source.lines().map(str::trim).collect();
        for at in (0..lines.len()).filter(|&at| lines[at].starts_with("#[cfg(test)]")) {
            let declaration = lines[at..].iter().take(4).find_map(|line| line.strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name));
            let named = lines[at..].iter().take(3).find_map(|line| line.split("path = \"").nth(1)?.split('"').next());
            let Some(name) = declaration else { continue };
            found.extend(module_files(path, name, named));
        }
    }
    found
}

fn module_files(parent: &Path, name: &str, named: Option<&str>) -> Vec<PathBuf> {
    let dir = parent.parent().unwrap_or(Path::new(""));
    if let Some(named) = named {
        return vec![dir.join(named)];
    }
    let stem = parent.file_stem().unwrap_or_default().to_string_lossy();
    let dir = if matches!(&*stem, "mod" | "lib" | "main") { dir.to_path_buf() } else { dir.join(&*stem) };
    vec![dir.join(format!("{name}.rs")), dir.join(name).join("mod.rs")]
}

/// The first names behind `crate::` (or `bitnet::`, or as many `super::` as lead to the crate) in `code`, groups opened.
/// `depth` is the number of modules that enclose the file: 1 for src/run/mod.rs, 2 for src/run/status.rs.
pub fn crate_names(code: &str, depth: usize) -> BTreeSet<String> {
    let supers = "super::".repeat(depth);
    let prefixes = ["crate::", "bitnet::", supers.as_str()];
    let mut names = BTreeSet::new();
    for prefix in prefixes.into_iter().filter(|prefix| !prefix.is_empty()) {
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if !(before.is_alphanumeric() || before == '_' || before == '$' || before == ':') {
                names.extend(first_names(&code[at + prefix.len()..]));
            }
        }
    }
    names
}

/// `a::b` gives a; `{a, b::{c, d}}` gives a and b.
fn first_names(rest: &str) -> Vec<String> {
    let word = |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let (mut depth, mut start, mut names) = (1, 0, Vec::new());
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            names.push(word(&group[start..i]));
            start = i + 1;
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}
