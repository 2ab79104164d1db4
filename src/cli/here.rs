//! Paths as the user meant them: just runs every recipe at the root of the project, and tells in an environment variable where the user
//! was.

use crate::config::Overrides;
use std::env;
use std::path::{Path, PathBuf};

/// Set by the justfile; without it the working directory is where the user is.
const INVOCATION_DIR: &str = "BITNET_INVOCATION_DIR";

/// The file or directory that the user typed as `path`, whether it is there or not.
pub fn from_here(path: &Path) -> PathBuf {
    match (env::var_os(INVOCATION_DIR), env::current_dir()) {
        (Some(user), Ok(root)) => seen_from(&root, Path::new(&user), path),
        _ => path.to_owned(),
    }
}

/// What the user typed as a name, or as the path to something that is there.
pub fn name_from_here(name: &str) -> String {
    let path = from_here(Path::new(name));
    if path.exists() { path.display().to_string() } else { name.to_owned() }
}

/// The files that flags of an experiment name.
pub fn overrides_from_here(mut overrides: Overrides) -> Overrides {
    overrides.data.iter_mut().chain(&mut overrides.tokenizer).for_each(|path| *path = name_from_here(path));
    overrides
}

/// `path`, relative to `user`, as it reads at `root`.
fn seen_from(root: &Path, user: &Path, path: &Path) -> PathBuf {
    if path.is_absolute() || user == root {
        return path.to_owned();
    }
    let whole = user.join(path);
    whole.strip_prefix(root).map_or(whole.clone(), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_is_where_the_user_is_and_short_inside_the_project() {
        let seen = |user: &str, path: &str| seen_from(Path::new("/project"), Path::new(user), Path::new(path));
        assert_eq!(seen("/project", "a/b"), Path::new("a/b"));
        assert_eq!(seen("/project/docs", "a/b"), Path::new("docs/a/b"));
        assert_eq!(seen("/elsewhere", "a"), Path::new("/elsewhere/a"));
        assert_eq!(seen("/project/docs", "/a"), Path::new("/a"));
    }
}
