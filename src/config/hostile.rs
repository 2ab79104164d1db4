//! What is refused before a parser sees it: text that no config is as long as, and aliases that expand without end.

use crate::{Error, Result};

/// No config is near this size, in bytes.
pub(super) const LARGEST_FILE: u64 = 256 * 1024;
/// Aliases multiply what they name: so few stay harmless however they are nested.
const MOST_ALIASES: usize = 16;

/// Refuses, before any parser sees it, text that is too long or whose aliases could expand without end.
pub(super) fn refuse_hostile(text: &str, name: &str) -> Result<()> {
    if text.len() as u64 > LARGEST_FILE {
        return Err(Error::input(format!("{name}: larger than {LARGEST_FILE} bytes, which no config is")));
    }
    let aliases = count_marks(text, b'*');
    if aliases > MOST_ALIASES && count_marks(text, b'&') > 0 {
        return Err(Error::input(format!("{name}: {aliases} aliases, more than {MOST_ALIASES}")).hint("write the values out"));
    }
    Ok(())
}

/// How often `mark` stands where an anchor or alias can begin. Strings count too: too many is safe, too few is not.
fn count_marks(text: &str, mark: u8) -> usize {
    let bytes = text.as_bytes();
    let begins = |before: Option<&u8>| before.is_none_or(|byte| !byte.is_ascii_alphanumeric());
    let names = |after: Option<&u8>| after.is_some_and(|byte| !byte.is_ascii_whitespace());
    let is_mark = |&at: &usize| bytes[at] == mark && begins(at.checked_sub(1).map(|i| &bytes[i])) && names(bytes.get(at + 1));
    (0..bytes.len()).filter(is_mark).count()
}
