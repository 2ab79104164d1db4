//! The ids of runs: which are allowed, and what a run is called when the user does not say.

use crate::{Error, Result};

const MAX_LENGTH: usize = 64;

/// An error unless `id` is 1 to 64 letters, digits, `.`, `_`, `-` and begins with a letter or digit. It thus is one plain name on every
/// file system, never a path and never hidden.
pub fn check_run_id(id: &str) -> Result<()> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let begins_well = id.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins_well && id.len() <= MAX_LENGTH && id.chars().all(is_allowed) {
        return Ok(());
    }
    let hint = format!("use 1 to {MAX_LENGTH} letters, digits, '.', '_' or '-', beginning with a letter or digit");
    Err(Error::input(format!("{id:?} cannot be a run id")).hint(hint))
}

/// `bitnet_5M_arithmetic_1700000000`: parameters, experiment, seconds since 1970. Characters of `experiment` that an id cannot have
/// become `-`, and a long name is shortened.
pub fn default_run_id(num_parameters: u64, experiment: &str, unix_time: u64) -> String {
    let before = format!("bitnet_{}_", short_count(num_parameters));
    let after = format!("_{unix_time}");
    let room = MAX_LENGTH.saturating_sub(before.len() + after.len());
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = experiment.chars().map(plain).take(room).collect();
    format!("{before}{name}{after}")
}

/// 729 -> `729`, 729,000 -> `729K`, 5,123,456 -> `5M`, 2,400,000,000 -> `2.4B`.
pub fn short_count(count: u64) -> String {
    let rounded = |unit: u64| (count + unit / 2) / unit;
    match count {
        0..1_000 => count.to_string(),
        1_000..999_500 => format!("{}K", rounded(1_000)),
        999_500..999_500_000 => format!("{}M", rounded(1_000_000)),
        _ => {
            let tenths = (count / 50_000_000).div_ceil(2);
            if tenths.is_multiple_of(10) { format!("{}B", tenths / 10) } else { format!("{}.{}B", tenths / 10, tenths % 10) }
        }
    }
}
