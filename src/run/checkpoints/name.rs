//! The names of what lies in `checkpoints/`, and which file names a checkpoint may hold.

/// Written last into a checkpoint.
pub(super) const COMPLETE: &str = "COMPLETE";
/// A save in progress, or what is left of one.
pub(super) const TEMPORARY: &str = ".tmp-";
/// A pruned checkpoint that is being removed.
pub(super) const TRASH: &str = ".trash-";
/// A checkpoint that makes way for another of the same step; valid until that one is committed.
pub(super) const REPLACED: &str = ".replaced-";

/// `step-000500`.
pub(super) fn of_step(step: u64) -> String {
    format!("step-{step:06}")
}

/// 500 for `step-000500`; none for any other spelling, so that a step has one name.
pub(super) fn step_of(name: &str) -> Option<u64> {
    step_after("step-", name)
}

/// 500 for `.replaced-000500`.
pub(super) fn replaced_step_of(name: &str) -> Option<u64> {
    step_after(REPLACED, name)
}

fn step_after(prefix: &str, name: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    let step = digits.parse().ok()?;
    (format!("{step:06}") == digits).then_some(step)
}

/// Whether a file of a checkpoint may have this name: letters, digits, `.`, `_`, `-`, not hidden, not `COMPLETE`. It thus stays inside
/// its directory on every system.
pub(super) fn is_file_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=128).contains(&name.len()) && !name.starts_with('.') && name != COMPLETE && name.chars().all(is_allowed)
}
