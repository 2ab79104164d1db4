//! What the codes of a matrix look like while it trains: the share of each code, and the share that changed.

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
    require_codes(codes)?;
    let share = |sign: i8| codes.iter().filter(|code| code.signum() == sign).count() as f64 / codes.len() as f64;
    Ok(CodeShares { negative: share(-1), zero: share(0), positive: share(1) })
}

/// The share of positions whose codes differ, 0 to 1.
///
/// # Errors
/// No code at all, or different lengths.
pub fn flipped_share(before: &[i8], after: &[i8]) -> Result<f64> {
    require_codes(before)?;
    if before.len() != after.len() {
        return Err(Error::ours(format!("{} codes cannot be compared with {}: not the same matrix", before.len(), after.len())));
    }
    let num_flipped = before.iter().zip(after).filter(|(before, after)| before != after).count();
    Ok(num_flipped as f64 / before.len() as f64)
}

fn require_codes(codes: &[i8]) -> Result<()> {
    if codes.is_empty() {
        return Err(Error::ours("a matrix without codes has no shares"));
    }
    Ok(())
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
    fn flips_count_every_kind_of_change_once() {
        assert_eq!(flipped_share(&[-1, 0, 1, 1], &[1, 0, 0, 1]).unwrap(), 0.5);
        assert_eq!(flipped_share(&[-1, 0, 1], &[-1, 0, 1]).unwrap(), 0.0);
    }

    #[test]
    fn nothing_and_other_lengths_have_no_shares() {
        assert!(code_shares(&[]).is_err());
        assert!(flipped_share(&[], &[]).is_err());
        assert!(flipped_share(&[1], &[1, 0]).is_err());
    }
}
