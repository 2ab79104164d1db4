//! Names that come from a user or a server and become part of a path or an address: each is checked before it does.

use crate::{Error, Result};

const MAX_PART_BYTES: usize = 255;
const MAX_REPOSITORY_PART_BYTES: usize = 96;

/// `owner/name` or `name`, of the characters that the Hub allows.
pub(super) fn check_repository(repository: &str) -> Result<()> {
    let parts: Vec<&str> = repository.split('/').collect();
    // The cache writes the slash as two dashes, so a name with two dashes would be somebody else's.
    let is_name = |part: &&str| is_repository_part(part) && !part.contains("--") && !part.contains("..");
    if parts.len() > 2 || !parts.iter().all(is_name) {
        let message = format!("{repository:?} cannot be a repository of the Hub");
        return Err(Error::input(message).hint("write owner/name, with letters, digits, '-', '_' and '.'"));
    }
    Ok(())
}

fn is_repository_part(part: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_edge = |byte: &u8| !b"-.".contains(byte);
    (1..=MAX_REPOSITORY_PART_BYTES).contains(&part.len())
        && part.bytes().all(is_allowed)
        && part.as_bytes().first().is_some_and(is_edge)
        && part.as_bytes().last().is_some_and(is_edge)
}

/// A branch, a tag or a commit: what can be a path below `refs/`.
pub(super) fn check_revision(revision: &str) -> Result<()> {
    if is_relative_path(revision) {
        return Ok(());
    }
    Err(Error::input(format!("{revision:?} cannot be a revision")).hint("name a branch, a tag or a commit, such as main"))
}

/// The name of a file as a repository lists it; the error is the server's doing.
pub(super) fn check_file_name(name: &str) -> Result<()> {
    if is_relative_path(name) {
        return Ok(());
    }
    let hint = "leave it out by narrower patterns, or tell the owner of the repository";
    Err(Error::input(format!("the repository lists a file {name:?}, which could be written outside the cache")).hint(hint))
}

/// A path that stays below wherever it is put, on every operating system.
fn is_relative_path(path: &str) -> bool {
    let is_forbidden = |c: char| c.is_control() || c == '\\' || cfg!(windows) && ":*?\"<>|".contains(c);
    let is_part = |part: &str| (1..=MAX_PART_BYTES).contains(&part.len()) && part != "." && part != "..";
    path.split('/').all(is_part) && !path.contains(is_forbidden)
}

/// `num_digits` of lower-case hexadecimal: the only form in which a server's hashes become names.
pub(super) fn is_hex(text: &str, num_digits: usize) -> bool {
    text.len() == num_digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A full commit, which needs no server to be resolved.
pub(super) fn is_commit(revision: &str) -> bool {
    is_hex(revision, 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_directory_are_refused() {
        for name in ["../x", "a/../../x", "/etc/x", "a//b", "", ".", "..", "a/", "a\0b", "a\\..\\b", "a\nb", &"a".repeat(256)] {
            assert!(check_file_name(name).is_err() && check_revision(name).is_err(), "{name:?}");
        }
        for name in ["a", "data/train-00000-of-00010.parquet", "..a/b..", "with space/ä.txt", ".gitattributes"] {
            check_file_name(name).unwrap();
        }
    }

    #[test]
    fn repositories_are_owner_and_name() {
        for name in ["gpt2", "roneneldan/TinyStories", "a/b.c_d-e"] {
            check_repository(name).unwrap();
        }
        for name in ["", "a/b/c", "a/", "/a", "a--b/c", "../x", "a/..", "a b", "a/.b", "a/b-", "ä/b", &"a".repeat(97)] {
            assert_eq!(check_repository(name).unwrap_err().exit_status(), 2, "{name:?}");
        }
    }

    #[test]
    fn only_lower_case_hexadecimal_of_the_right_length_is_a_hash() {
        assert!(is_hex("0123456789abcdef", 16));
        assert!(!is_hex("0123456789ABCDEF", 16) && !is_hex("0", 2) && !is_hex("../..", 5));
    }
}
