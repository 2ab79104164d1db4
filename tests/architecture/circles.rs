//! Which file imports from which, and the circles among them. A path leads to the file that has the item: a `mod.rs` that passes on what its
//! children own is seen through.

use super::words::{Import, Path, paths, split_imports, words};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path as FilePath, PathBuf};

/// How often a path may be passed on before it is given up.
const MOST_PASSES: usize = 8;

/// A file as a module.
struct Module {
    file: PathBuf,
    imports: Vec<Import>,
    /// What the code names without importing it.
    paths: Vec<Path>,
    /// Every word of the code but its imports.
    words: BTreeSet<String>,
}

/// Modules by their paths. The root has two files: `src/lib.rs` passes on what `src/core/lib.rs` has.
struct Tree(BTreeMap<Path, Vec<Module>>);

/// Who imports from whom, and which names.
type Arrows = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

/// Files each of which is reached from each.
pub struct Circle {
    pub files: BTreeSet<PathBuf>,
    /// `a.rs -> b.rs (Name)`
    arrows: Vec<String>,
}

impl fmt::Display for Circle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} files:\n    {}", self.files.len(), self.arrows.join("\n    "))
    }
}

/// The circles among files; `sources` are paths from the root of the tree, with code.
pub fn circles(sources: &[(PathBuf, String)]) -> Vec<Circle> {
    let arrows = Tree::new(sources).arrows();
    let reached: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> = arrows.keys().map(|file| (file, reached_from(&arrows, file))).collect();
    let circle = |file: &&PathBuf| -> BTreeSet<PathBuf> {
        let is_back = |other: &&&PathBuf| reached.get(**other).is_some_and(|files| files.contains(file));
        reached[*file].iter().filter(is_back).map(|other| (*other).clone()).collect()
    };
    let circles: BTreeSet<BTreeSet<PathBuf>> = reached.keys().map(circle).filter(|circle| !circle.is_empty()).collect();
    circles.into_iter().map(|files| Circle { arrows: closing_arrows(&arrows, &files), files }).collect()
}

fn reached_from<'a>(arrows: &'a Arrows, file: &PathBuf) -> BTreeSet<&'a PathBuf> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&PathBuf> = arrows[file].keys().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(arrows.get(file).into_iter().flat_map(BTreeMap::keys));
        }
    }
    reached
}

fn closing_arrows(arrows: &Arrows, circle: &BTreeSet<PathBuf>) -> Vec<String> {
    let inside = circle.iter().flat_map(|from| arrows[from].iter().map(move |(to, names)| (from, to, names)));
    inside
        .filter(|(_, to, _)| circle.contains(*to))
        .map(|(from, to, names)| {
            format!("{} -> {} ({})", from.display(), to.display(), names.iter().cloned().collect::<Vec<_>>().join(", "))
        })
        .collect()
}

/// `src/run/status.rs`, `src/run/status/mod.rs` and `src/core/run/status.rs`: `["run", "status"]`; `src/lib.rs`: none.
fn module_path(file: &FilePath) -> Path {
    let inside = file.strip_prefix("src/core").or(file.strip_prefix("src")).unwrap_or(file).with_extension("");
    let names = inside.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| !matches!(name.as_str(), "mod" | "lib")).collect()
}

impl Tree {
    fn new(sources: &[(PathBuf, String)]) -> Self {
        let mut modules: BTreeMap<Path, Vec<Module>> = BTreeMap::new();
        for (file, code) in sources {
            let words = words(code);
            let (imports, others) = split_imports(&words);
            let names = others.iter().map(|word| (*word).to_owned()).collect();
            let module = Module { file: file.clone(), imports, paths: paths(&others), words: names };
            modules.entry(module_path(file)).or_default().push(module);
        }
        Self(modules)
    }

    fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (own, module) in self.0.iter().flat_map(|(own, modules)| modules.iter().map(move |module| (own, module))) {
            let targets = arrows.entry(module.file.clone()).or_default();
            // What a file passes on and does not use itself is no import of its own.
            let imported = module.imports.iter().filter(|import| !import.is_public || module.words.contains(&import.name));
            for path in imported.map(|import| &import.path).chain(&module.paths) {
                let found = self.absolute(own, path).and_then(|path| self.owner(&path, MOST_PASSES));
                if let Some((file, name)) = found.filter(|(file, _)| *file != module.file) {
                    targets.entry(file).or_default().insert(name);
                }
            }
        }
        arrows
    }

    /// A path in module `own`, from the crate's root on; none where it leads to another crate.
    fn absolute(&self, own: &Path, path: &Path) -> Option<Path> {
        let joined = |start: &[String], rest: &[String]| Some([start, rest].concat());
        match path[0].as_str() {
            "crate" | "bitnet" | "bitnet_core" => joined(&[], &path[1..]),
            "self" => joined(own, &path[1..]),
            "super" => {
                let supers = path.iter().take_while(|name| *name == "super").count();
                joined(&own[..own.len().saturating_sub(supers)], &path[supers..])
            }
            first if self.0.contains_key(&[own.as_slice(), &[first.to_owned()]].concat()) => joined(own, path),
            first => {
                let import = self.0[own].iter().flat_map(|module| &module.imports).find(|import| import.name == first)?;
                let is_itself = import.path[0] == first;
                let start = if is_itself { None } else { self.absolute(own, &import.path) };
                joined(&start?, &path[1..])
            }
        }
    }

    /// The file that has the item behind `path`, and the item's name; none for a module as a whole.
    fn owner(&self, path: &Path, passes: usize) -> Option<(PathBuf, String)> {
        let depth = (1..=path.len()).take_while(|&depth| self.0.contains_key(&path[..depth])).last().unwrap_or(0);
        let (own, name) = (&path[..depth].to_vec(), path.get(depth)?);
        let modules = self.0.get(own)?;
        let imports = modules.iter().flat_map(|module| &module.imports).filter(|import| import.name == *name);
        let targets =
            imports.filter_map(|import| self.absolute(own, &import.path)).map(|target| [target, path[depth + 1..].to_vec()].concat());
        let mut further = targets.filter(|target| target != path);
        match further.next() {
            Some(target) if passes > 0 => self.owner(&target, passes - 1),
            _ => Some((modules[0].file.clone(), name.clone())),
        }
    }
}

#[test]
fn a_circle_is_noticed_however_it_is_closed() {
    let circle = |files: &[(&str, &str)]| -> Vec<String> {
        let sources: Vec<_> = files.iter().map(|(path, code)| (PathBuf::from(path), (*code).to_owned())).collect();
        circles(&sources).iter().map(Circle::to_string).collect()
    };
    let from_a_to_b = ("src/room/a.rs", "use super::b::{self, Plan}; pub struct Step;");
    for back in [
        "use crate::room::a::Step; pub struct Plan;",
        "use crate::{Error, room::{a::{Step as Next}}};",
        "fn go() { super::a::Step::new(); }",
        "use super::a; fn go() { a::Step::new() }",
        "use crate::room::Step;",
        "use super::*; use crate::Passed;",
    ] {
        let lib = ("src/lib.rs", "pub mod room; pub use room::a::Step as Passed;");
        let found = circle(&[lib, ("src/room/mod.rs", "mod a; mod b; pub use a::Step;"), from_a_to_b, ("src/room/b.rs", back)]);
        assert_eq!(found.len(), 1, "{back}: {found:?}");
        assert!(found[0].contains("src/room/a.rs -> src/room/b.rs (Plan)"), "{found:?}");
        assert!(found[0].contains("src/room/b.rs -> src/room/a.rs (Step)"), "{found:?}");
    }
    let child = ("src/room/a.rs", "use super::Step; pub struct Plan;");
    let found = circle(&[("src/room/mod.rs", "mod a; pub struct Step(a::Plan);"), child]);
    assert_eq!(found, ["2 files:\n    src/room/a.rs -> src/room/mod.rs (Step)\n    src/room/mod.rs -> src/room/a.rs (Plan)"]);
    // A parent that only declares and passes on is part of no circle.
    assert!(circle(&[("src/room/mod.rs", "mod a; pub use a::Plan; pub struct Step;"), child]).is_empty());
    assert!(circle(&[from_a_to_b, ("src/room/b.rs", "use std::a::Step; use super::super::other::a::Step;")]).is_empty());
}
