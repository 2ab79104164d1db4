//! The rules that hold for every file: layers, circles of imports, questions to enums, length, headers, unsafe, panics, printing, and that the
//! README tells the truth. Files are read as plain text (architecture/); what the compiler and clippy check is left to them.

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/scan.rs"]
mod scan;
#[path = "architecture/variants.rs"]
mod variants;
#[path = "architecture/words.rs"]
mod words;

use circles::circles;
use scan::{code, code_without_tests, crate_names, files, read, root, rust_files, test_only_files};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use variants::partial_questions;

/// A module imports only from rows above its own. Binaries (row 6) are scripts/, so no module can name them.
const LAYERS: [&[&str]; 6] = [
    &["error"],
    &["storage", "config", "random", "tokenizer", "ternary", "dense", "gguf", "libtorch"],
    &["schedule", "tasks", "folder", "sampling"],
    &["run", "inference", "model", "optimizer"],
    &["data", "report", "export", "serve"],
    &["train", "cli", "doctor"],
];
/// Enums that get new values: code that asks for one value asks for all, so that the compiler names each place that a new one changes.
const ENUMS: [&str; 6] = ["WeightQuantizer", "ActivationQuantizer", "NormPlacement", "Activation", "Attention", "TensorType"];
const MAX_LINES: usize = 400;

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// src/run/status.rs and src/run/mod.rs: ("run", 2) and ("run", 1); src/core/random.rs: ("random", 1); src/lib.rs: None.
fn module_of(path: &Path) -> Option<(String, usize)> {
    let parts: Vec<String> = path
        .strip_prefix("src/core")
        .or(path.strip_prefix("src"))
        .ok()?
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let depth = parts.len() - usize::from(parts.last().is_some_and(|last| last == "mod"));
    // A file of tests beside its module, as in src/schedule_tests.rs, belongs to that module.
    let module = parts[0].trim_end_matches("_tests").to_owned();
    (module != "lib").then_some((module, depth))
}

/// What is wrong with the imports of `module`, whose code (tests blanked) is `code`.
fn wrong_imports(module: &str, depth: usize, code: &str) -> Vec<String> {
    let Some(own) = layer(module) else { return vec![format!("{module} is in no row of the layer table")] };
    let mut wrong = Vec::new();
    for name in crate_names(code, depth) {
        let is_from_error = name == "error" || name.starts_with(char::is_uppercase);
        match layer(&name) {
            _ if name == module || is_from_error && own > 0 => {}
            Some(row) if row < own => {}
            Some(row) => wrong.push(format!("{module} (row {own}) imports {name} (row {row})")),
            None => wrong.push(format!("{module} imports {name}, which is in no row of the layer table")),
        }
    }
    wrong
}

/// Files of src/ and scripts/ that are no tests, with their code.
fn shipped_code() -> Vec<(PathBuf, String)> {
    let sources = rust_files(&["src", "scripts"]);
    let tests = test_only_files(&sources);
    let shipped = sources.into_iter().filter(|path| !tests.contains(path));
    shipped.map(|path| (path.clone(), code_without_tests(&read(&path)))).collect()
}

/// `path:line` of every line of `code` on which `found` is true.
fn lines_where(path: &Path, code: &str, found: impl Fn(&str) -> bool) -> Vec<String> {
    code.lines()
        .enumerate()
        .filter(|(_, line)| found(line))
        .map(|(at, line)| format!("{}:{}: {}", path.display(), at + 1, line.trim()))
        .collect()
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| !is_part(line[..at].chars().next_back()) && !is_part(line[at + word.len()..].chars().next()))
}

fn can_panic(line: &str) -> bool {
    [".unwrap()", ".expect("].iter().any(|call| line.contains(call))
        || ["panic!", "todo!", "unimplemented!"].iter().any(|name| has_word(line, name.trim_end_matches('!')) && line.contains(name))
}

fn prints(line: &str) -> bool {
    ["println!", "eprintln!", "print!", "eprint!", "dbg!"].iter().any(|name| line.contains(name))
}

#[track_caller]
fn assert_none(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}

#[test]
fn a_module_imports_only_from_rows_above_its_own() {
    let mut wrong = Vec::new();
    for (path, code) in shipped_code() {
        if let Some((module, depth)) = module_of(&path) {
            wrong.extend(wrong_imports(&module, depth, &code).into_iter().map(|what| format!("{}: {what}", path.display())));
        }
    }
    assert_none("wrong imports", &wrong);
}

#[test]
fn a_wrong_import_is_noticed_however_it_is_written() {
    for text in
        ["use crate::train::Trainer;", "use crate::{config::Model, train};", "fn f() { crate::train::go() }", "use super::super::train;"]
    {
        assert_eq!(wrong_imports("run", 2, text), ["run (row 3) imports train (row 5)"], "{text}");
    }
    assert_eq!(wrong_imports("model", 2, "use crate::optimizer::AdamW;"), ["model (row 3) imports optimizer (row 3)"]);
    assert_eq!(wrong_imports("run", 2, "use crate::helpers::x;").len(), 1);
    assert_eq!(wrong_imports("helpers", 1, "").len(), 1);
    for text in ["use crate::{Error, Result};", "use crate::run::Status;", "use super::train;", "use crate::storage::{write, train};"] {
        assert!(wrong_imports("run", 2, text).is_empty(), "{text}");
    }
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let sources: Vec<_> = shipped_code().into_iter().filter(|(path, _)| path.starts_with("src")).collect();
    assert_none("circles of imports", &circles(&sources).iter().map(ToString::to_string).collect::<Vec<_>>());
}

#[test]
fn code_that_asks_for_a_value_of_a_growing_enum_asks_for_all() {
    let ask = |(path, code): (PathBuf, String)| {
        partial_questions(&code, &ENUMS).into_iter().map(|question| format!("{}: {question}", path.display())).collect::<Vec<_>>()
    };
    assert_none(
        "questions that a new value answers unseen; match on every value",
        &shipped_code().into_iter().flat_map(ask).collect::<Vec<_>>(),
    );
}

#[test]
fn no_file_is_longer_than_400_lines() {
    let endings = ["rs", "cpp", "h", "sh", "py"];
    let is_code =
        |path: &PathBuf| path.starts_with("scripts") || path.extension().is_some_and(|e| endings.contains(&&*e.to_string_lossy()));
    let length = |path: PathBuf| (read(&path).lines().count(), path);
    let long = files("").into_iter().filter(is_code).map(length).filter(|(lines, _)| *lines > MAX_LINES);
    assert_none("too long", &long.map(|(lines, path)| format!("{}: {lines} lines", path.display())).collect::<Vec<_>>());
}

#[test]
fn every_rust_file_opens_by_saying_what_it_owns() {
    let all = rust_files(&["src", "scripts", "tests", "benches", "examples", "build.rs"]);
    assert!(all.len() > 10, "the scan found only {all:?}");
    let silent = all.into_iter().filter(|path| !read(path).starts_with("//! ")).map(|path| path.display().to_string());
    assert_none("files without //!", &silent.collect::<Vec<_>>());
}

#[test]
fn unsafe_is_only_where_it_has_to_be() {
    let allowed = [
        "src/core/dense/level.rs",
        "src/core/dense/x86.rs",
        "src/libtorch",
        "src/storage/mapped.rs",
        "src/core/ternary/kernels",
        "src/core/ternary/large_pages.rs",
        "src/core/ternary/threads.rs",
    ];
    let is_outside = |path: &PathBuf| !allowed.iter().any(|place| path.starts_with(place));
    let outside = rust_files(&["src", "scripts", "benches", "build.rs"]).into_iter().filter(is_outside);
    let wrong = outside.flat_map(|path| lines_where(&path, &code(&read(&path)), |line| has_word(line, "unsafe")));
    assert_none("unsafe outside src/libtorch, the packed kernels, mapped files and large pages", &wrong.collect::<Vec<_>>());
}

#[test]
fn nothing_that_ships_panics_on_purpose() {
    let wrong: Vec<String> = shipped_code().iter().flat_map(|(path, code)| lines_where(path, code, can_panic)).collect();
    assert_none("unwrap, expect or panic! outside tests", &wrong);
}

#[test]
fn the_library_never_prints() {
    let library = shipped_code().into_iter().filter(|(path, _)| path.starts_with("src"));
    assert_none("printing in src/", &library.flat_map(|(path, code)| lines_where(&path, &code, prints)).collect::<Vec<_>>());
}

#[test]
fn the_scan_sees_code_and_not_comments_strings_or_tests() {
    let source = "// panic!()\nlet a = \"panic!() \\\" .unwrap()\"; /* panic!() /* x */ */ let c = '\"'; b.unwrap();\nlet r = r#\"panic!(\"\"#;\nfn f<'a>() {}\n";
    let seen = lines_where(Path::new("x"), &code_without_tests(source), can_panic);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].starts_with("x:2: "), "{seen:?}");
    let with_tests =
        "fn a() { x.unwrap() }\n#[cfg(test)]\nmod tests {\n fn b() { x.unwrap(); }\n}\nfn c() { todo!() }\n#[cfg(test)] mod d;\n";
    assert_eq!(lines_where(Path::new("x"), &code_without_tests(with_tests), can_panic).len(), 2);
    assert!(!has_word("#![deny(unsafe_code)]", "unsafe") && has_word("unsafe { }", "unsafe"));
    assert!(!can_panic("a.unwrap_or(b); std::panic::catch_unwind(f)") && !prints("writeln!(out)"));
}

#[test]
fn no_file_names_somebodys_home() {
    let homes = [concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/ro", "ot/")];
    let names_home = |line: &str| {
        homes.iter().any(|home| line.match_indices(home).any(|(at, _)| line[at + home.len()..].starts_with(char::is_alphanumeric)))
    };
    let wrong = files("").into_iter().flat_map(|path| lines_where(&path, &read(&path), names_home));
    assert_none("absolute paths of one machine", &wrong.collect::<Vec<_>>());
}

/// The paths of README's map: those of the first block under "## The tree", by their indentation.
fn mapped_paths(readme: &str) -> BTreeSet<PathBuf> {
    let block = readme.split("## The tree").nth(1).and_then(|rest| rest.split("```").nth(1)).unwrap_or_default();
    let mut parents: Vec<&str> = Vec::new();
    let mut paths = BTreeSet::new();
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        let name = line.split_whitespace().next().unwrap_or_default().trim_end_matches('/');
        parents.truncate((line.len() - line.trim_start().len()) / 2);
        parents.push(name);
        paths.insert(parents.iter().collect());
    }
    paths
}

#[test]
fn the_readmes_map_agrees_with_the_tree() {
    let mapped = mapped_paths(&read(Path::new("README.md")));
    assert!(mapped.contains(Path::new("src/core/error.rs")), "the map was not found: {mapped:?}");
    let mut wrong: Vec<String> =
        mapped.iter().filter(|path| !root().join(path).exists()).map(|path| format!("{} is not there", path.display())).collect();
    let below = |path: &Path, depth: usize| path.iter().take(depth).collect::<PathBuf>();
    let modules =
        files("src").into_iter().flat_map(|path| [below(&path, 2), below(&path, if path.starts_with("src/core") { 3 } else { 2 })]);
    let unlisted = ["src/lib.rs", "src/core/lib.rs", "src/core/Cargo.toml"].map(PathBuf::from);
    let is_listed_by_name = |path: &PathBuf| !unlisted.contains(path) && !path.to_string_lossy().ends_with("_tests.rs");
    let dirs = files("").into_iter().filter(|path| path.iter().count() > 1).filter_map(|path| path.iter().next().map(PathBuf::from));
    let expected: BTreeSet<PathBuf> = modules.filter(is_listed_by_name).chain(dirs).collect();
    wrong.extend(expected.difference(&mapped).map(|path| format!("{} is not in the map", path.display())));
    assert_none("README's map", &wrong);
}

#[test]
fn the_rows_in_the_readmes_map_are_the_layers() {
    let readme = read(Path::new("README.md"));
    let rows: BTreeMap<&str, usize> = readme
        .lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("  ")?.split_whitespace();
            Some((words.next()?.trim_end_matches('/').trim_end_matches(".rs"), words.next()?.parse().ok()?))
        })
        .collect();
    assert!(!rows.is_empty());
    assert_none(
        "rows",
        &rows.iter().filter(|(name, row)| layer(name) != Some(**row)).map(|(name, row)| format!("{name} {row}")).collect::<Vec<_>>(),
    );
}

/// The names behind `just` in the code of a page: in `quotes` and in indented or fenced lines.
fn named_recipes(page: &str) -> BTreeSet<String> {
    let is_name =
        |word: &str| word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let follow = page
        .match_indices("just ")
        .filter(|(at, _)| page[..*at].ends_with(['`', '\n']) || page[..*at].ends_with("$ ") || page[..*at].ends_with("&& "));
    follow
        .map(|(at, just)| page[at + just.len()..].split([' ', '`', '\n']).next().unwrap_or_default().to_owned())
        .filter(|word| is_name(word))
        .collect()
}

/// The recipes of a justfile that `just --list` shows: neither variables nor what is marked as private.
fn public_recipes(justfile: &str) -> BTreeSet<String> {
    let mut is_private = false;
    let mut recipes = BTreeSet::new();
    for line in justfile.lines() {
        let is_head =
            line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(':') && !line.contains(":=") && !line.starts_with("set ");
        if is_head && !is_private {
            recipes.insert(line.split([' ', ':']).next().unwrap_or_default().to_owned());
        }
        is_private = line == "[private]" || is_private && line.starts_with('[');
    }
    recipes
}

#[test]
fn every_recipe_that_a_page_names_exists_and_has_a_line_of_its_own() {
    let recipes = public_recipes(&read(Path::new("justfile")));
    let mut wrong = Vec::new();
    for page in files("").into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "md")) {
        wrong.extend(named_recipes(&read(&page)).difference(&recipes).map(|name| format!("{}: just {name}", page.display())));
    }
    let named = named_recipes(&read(Path::new("README.md")));
    assert!(named.contains("train-simple") && named.contains("test"), "the scan found only {named:?}");
    wrong.extend(
        recipes
            .iter()
            .filter(|name| *name != "default" && *name != "lint" && *name != "format" && !named.contains(*name))
            .map(|name| format!("README.md lacks just {name}")),
    );
    assert_none("recipes", &wrong);
}

#[test]
fn no_page_has_a_gap_to_be_filled() {
    let pages = files("").into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let gaps = pages.filter(|path| ["GOES HERE", "TODO", "TBD"].iter().any(|gap| read(path).contains(gap)));
    assert_none("pages with gaps", &gaps.map(|path| path.display().to_string()).collect::<Vec<_>>());
}

#[test]
fn the_two_commands_stand_before_line_20_of_the_readme() {
    let head: Vec<String> = read(Path::new("README.md")).lines().take(19).map(str::to_owned).collect();
    for command in ["$ scripts/setup-just && just train-simple 100", "$ just test"] {
        assert!(head.iter().any(|line| line.starts_with(command)), "{command}");
    }
}

#[test]
fn every_file_that_a_page_links_exists() {
    let mut wrong = Vec::new();
    for page in files("").into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "md")) {
        for target in read(&page).split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let is_local = !target.is_empty() && !target.contains("://");
            if is_local && !root().join(&page).with_file_name("").join(target).exists() {
                wrong.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert_none("links that lead nowhere", &wrong);
}

#[test]
fn every_path_that_the_architecture_page_names_exists() {
    let page = read(Path::new("docs/architecture.md"));
    let is_path = |text: &&str| text.contains('/') && text.chars().all(|c| c.is_ascii_alphanumeric() || "/_.-".contains(c));
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(is_path).collect();
    assert!(named.contains(&"model/quantize.rs"), "the scan found only {named:?}");
    let is_there = |path: &&str| root().join("src").join(path).exists() || root().join(path).exists();
    assert_none("paths that lead nowhere", &named.into_iter().filter(|path| !is_there(path)).map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn every_file_of_tests_is_part_of_one_program() {
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
    let names = |dir: &str| {
        let entries = std::fs::read_dir(root().join(dir)).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "rs")).collect::<Vec<_>>()
    };
    let programs: Vec<String> = names("tests/programs").into_iter().map(read).collect();
    for path in names("tests") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let as_module = programs.iter().filter(|text| text.contains(&format!("#[path = \"../{name}.rs\"]\nmod {name};\n"))).count();
        assert_eq!(as_module, 1, "tests/{name}.rs: name it in one of tests/programs/*.rs, or it is never run");
    }
}
