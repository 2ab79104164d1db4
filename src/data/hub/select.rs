//! Which files of a repository the patterns of a request mean.

use super::Request;
use crate::{Error, Result};
use globset::{GlobBuilder, GlobMatcher};

/// Names that are shown when nothing matches.
const NUM_SHOWN: usize = 5;

/// The patterns of a request.
pub(super) struct Patterns {
    matchers: Vec<GlobMatcher>,
}

impl Patterns {
    /// # Errors
    /// The user's: a pattern that is none, or no pattern.
    pub(super) fn new(request: &Request) -> Result<Self> {
        if request.files.is_empty() {
            return Err(Error::input(format!("{request}: no files are named")).hint("name files or patterns, such as data/*.parquet"));
        }
        let matcher = |pattern: &String| match GlobBuilder::new(pattern).literal_separator(true).build() {
            Ok(glob) => Ok(glob.compile_matcher()),
            Err(error) => {
                let message = format!("{request}: {pattern:?} is no pattern of file names: {}", error.kind());
                Err(Error::input(message).hint("put a backslash before a bracket or brace that is meant as it is"))
            }
        };
        Ok(Self { matchers: request.files.iter().map(matcher).collect::<Result<_>>()? })
    }

    /// A pattern that matches none of `files`.
    pub(super) fn without_match<T>(&self, files: &[T], name: impl Fn(&T) -> &str) -> Option<&str> {
        let matches_none = |matcher: &&GlobMatcher| !files.iter().any(|file| matcher.is_match(name(file)));
        self.matchers.iter().find(matches_none).map(|matcher| matcher.glob().glob())
    }

    /// Those of `files` that a pattern matches, sorted by name.
    ///
    /// # Errors
    /// The user's: a pattern that matches none.
    pub(super) fn select<T>(&self, request: &Request, files: Vec<T>, name: impl Fn(&T) -> &str) -> Result<Vec<T>> {
        if let Some(pattern) = self.without_match(&files, &name) {
            let names: Vec<&str> = files.iter().map(&name).collect();
            return Err(no_match(request, pattern, &names));
        }
        Ok(self.matching(files, name))
    }

    /// Those of `files` that a pattern matches, sorted by name, whether or not each pattern has one.
    pub(super) fn matching<T>(&self, files: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
        let is_wanted = |file: &T| self.matchers.iter().any(|matcher| matcher.is_match(name(file)));
        let mut selected: Vec<T> = files.into_iter().filter(is_wanted).collect();
        selected.sort_by(|one, other| name(one).cmp(name(other)));
        selected.dedup_by(|one, other| name(one) == name(other));
        selected
    }
}

fn no_match(request: &Request, pattern: &str, names: &[&str]) -> Error {
    let shown: Vec<String> = names.iter().take(NUM_SHOWN).map(|name| format!("{name:?}")).collect();
    let more = if names.len() > NUM_SHOWN { ", ..." } else { "" };
    let there = if names.is_empty() { "no files".to_owned() } else { format!("{} files: {}{more}", names.len(), shown.join(", ")) };
    Error::input(format!("{request}: {pattern:?} matches none of its files")).hint(format!("there are {there}; ** goes into directories"))
}

/// The directory that all patterns are in, as far as it has no special characters; empty for the whole repository. Listing no more than
/// that saves minutes in repositories of many thousands of files.
pub(super) fn common_dir(patterns: &[String]) -> String {
    let is_literal = |part: &&str| !part.contains(['*', '?', '[', ']', '{', '}', '\\']);
    let dirs = patterns.iter().map(|pattern| {
        let (dir, _) = pattern.rsplit_once('/').unwrap_or_default();
        // A brace may span a slash.
        if pattern.contains('{') { Vec::new() } else { dir.split('/').take_while(is_literal).collect::<Vec<&str>>() }
    });
    let common = dirs.reduce(|one, other| one.into_iter().zip(other).take_while(|(a, b)| a == b).map(|(a, _)| a).collect());
    common.unwrap_or_default().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::hub::Kind;

    fn selected(patterns: &[&str]) -> Result<Vec<&'static str>> {
        let files = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let request = Request { kind: Kind::Dataset, repository: "a/b".into(), revision: "main".into(), files };
        let names = vec!["data/b.parquet", "data/a.parquet", "data/deep/c.parquet", "README.md"];
        Patterns::new(&request)?.select(&request, names, |name| name)
    }

    #[test]
    fn a_star_stays_in_its_directory_and_two_do_not() {
        assert_eq!(selected(&["data/*.parquet"]).unwrap(), ["data/a.parquet", "data/b.parquet"]);
        assert_eq!(selected(&["**/*.parquet"]).unwrap(), ["data/a.parquet", "data/b.parquet", "data/deep/c.parquet"]);
        assert_eq!(selected(&["README.md", "data/{a,b}.parquet"]).unwrap(), ["README.md", "data/a.parquet", "data/b.parquet"]);
    }

    #[test]
    fn a_pattern_without_a_match_is_the_users_mistake() {
        let error = selected(&["README.md", "*.parquet"]).unwrap_err();
        assert!(error.exit_status() == 2 && error.to_string().contains("\"*.parquet\" matches none"), "{error}");
        assert!(error.to_string().contains("there are 4 files: \"data/b.parquet\""), "{error}");
        assert!(selected(&[]).is_err() && selected(&["a[b"]).is_err());
    }

    #[test]
    fn the_directory_to_list_is_the_one_that_all_patterns_share() {
        let common = |patterns: &[&str]| common_dir(&patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>());
        assert_eq!(common(&["sample/10BT/*.parquet"]), "sample/10BT");
        assert_eq!(common(&["sample/10BT/*.parquet", "sample/100BT/a"]), "sample");
        assert_eq!(common(&["sample/*/a", "sample/b"]), "sample");
        for whole in [&["*.parquet"][..], &["{a/b,c/d}/x"], &["a/b", "c/d"], &["README.md"], &["**/x"]] {
            assert_eq!(common(whole), "", "{whole:?}");
        }
    }
}
