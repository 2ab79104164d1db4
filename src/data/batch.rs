//! A batch as the trainer takes it: inputs, and the tokens to predict. Owns the shape; each source owns what is in it.

use crate::{Error, Result};

/// The target where the loss does not look.
pub const IGNORED_TARGET: i64 = -100;

/// Token ids of some sequences and what each position should predict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// `[rows, seq_len]`, row by row.
    pub inputs: Vec<i64>,
    /// `[rows, seq_len]`: the token after each input, or [`IGNORED_TARGET`].
    pub targets: Vec<i64>,
    /// Number of sequences.
    pub rows: usize,
    /// Tokens in each.
    pub seq_len: usize,
}

/// One more token than a sequence has, and for each token whether the loss looks at its prediction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub tokens: Vec<i64>,
    pub in_loss: Vec<bool>,
}

impl Batch {
    /// Shifts rows of `seq_len + 1` tokens into inputs and targets.
    pub(super) fn from_rows(rows: &[Row], seq_len: usize) -> Result<Self> {
        let (mut inputs, mut targets) = (Vec::with_capacity(rows.len() * seq_len), Vec::with_capacity(rows.len() * seq_len));
        for row in rows {
            if row.tokens.len() != seq_len + 1 || row.in_loss.len() != seq_len + 1 {
                return Err(Error::ours(format!("a row has {} tokens, not {seq_len} and one more", row.tokens.len())));
            }
            inputs.extend_from_slice(&row.tokens[..seq_len]);
            let target = |(&token, &in_loss): (&i64, &bool)| if in_loss { token } else { IGNORED_TARGET };
            targets.extend(row.tokens.iter().zip(&row.in_loss).skip(1).map(target));
        }
        Ok(Self { inputs, targets, rows: rows.len(), seq_len })
    }
}
