//! What the codes of a matrix look like: the share of each.

use crate::{Error, Result};

/// Shares of the three codes; they add up to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CodeShares {
    /// Share of codes that are -1.
    pub negative: f64,
    /// Share of codes that are 0.
    pub zero: f64,
    /// Share of codes that are +1.
    pub positive: f64,
}

/// The share of each code; normal weights give 34.5 %, 31.0 % and 34.5 % through `ternary_absmean`. Only the sign of a code counts.
///
/// # Errors
/// No code at all.
pub fn code_shares(codes: &[i8]) -> Result<CodeShares> {
    if codes.is_empty() {
        return Err(Error::ours("a matrix without codes has no shares"));
    }
    let share = |sign: i8| codes.iter().filter(|code| code.signum() == sign).count() as f64 / codes.len() as f64;
    Ok(CodeShares { negative: share(-1), zero: share(0), positive: share(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_count_each_code() {
        let shares = code_shares(&[-1, 0, 1, 1, 0, 1, 1, -1]).unwrap();
        assert_eq!(shares, CodeShares { negative: 0.25, zero: 0.25, positive: 0.5 });
    }

    #[test]
    fn nothing_has_no_shares() {
        assert!(code_shares(&[]).is_err());
    }
}
