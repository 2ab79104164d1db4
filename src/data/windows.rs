//! Training sequences of a tokenized corpus: stretches of consecutive tokens, each seen once an epoch, in an order that is computed from
//! the seed. The position in it is one number, so a resume needs nothing else.

use super::batch::{Batch, Row};
use super::permutation::Permutation;
use super::shards::TokenShards;
use crate::error::counted;
use crate::random::Random;
use crate::{Error, Result};

/// Sequences of one split.
#[derive(Debug)]
pub struct Windows {
    shards: TokenShards,
    seq_len: usize,
    seed: u64,
    count: u64,
}

impl Windows {
    /// Sequences of `seq_len` tokens, with the token after each.
    ///
    /// # Errors
    /// The split has fewer tokens than one sequence.
    pub fn new(shards: TokenShards, seq_len: usize, seed: u64) -> Result<Self> {
        let (tokens, length) = (shards.num_tokens(), seq_len as u64);
        if tokens <= length {
            let tokens = counted(tokens, "token");
            let message = format!("the corpus has {tokens} in a split, and a sequence takes train.seq_len = {seq_len} and one more");
            return Err(Error::input(message).hint("--seq-len N takes shorter sequences, --set data.text.held_out.end_of_each_document_percent=10 holds out more; or take more text"));
        }
        // Any beginning within the first sequence leaves room for so many.
        let count = (tokens - length).div_euclid(length).max(1);
        Ok(Self { shards, seq_len, seed, count })
    }

    /// Sequences of an epoch.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Batch `index` of `rows` sequences: the same whatever was asked before, and the same rows whether they are taken as one batch or as
    /// several smaller ones. Each epoch has its own order, and begins at another of the first tokens, so that its sequences are cut elsewhere.
    pub fn batch(&self, index: u64, rows: usize) -> Result<Batch> {
        let first = index.wrapping_mul(rows as u64);
        let rows = (0..rows as u64).map(|row| self.shuffled(first.wrapping_add(row))).collect::<Result<Vec<_>>>()?;
        Batch::from_rows(&rows, self.seq_len)
    }

    /// At most `most` sequences for measuring, evenly spread, in their order, `rows` a batch; the last may have fewer.
    pub fn in_order(&self, most: usize, rows: usize) -> Result<Vec<Batch>> {
        let all = (self.shards.num_tokens() - 1) / self.seq_len as u64;
        let taken = all.min(most as u64);
        let places: Vec<u64> = (0..taken).map(|index| index * all / taken * self.seq_len as u64).collect();
        let batch = |places: &[u64]| {
            let rows = places.iter().map(|&start| self.row(start)).collect::<Result<Vec<_>>>()?;
            Batch::from_rows(&rows, self.seq_len)
        };
        places.chunks(rows.max(1)).map(batch).collect()
    }

    fn shuffled(&self, sample: u64) -> Result<Row> {
        let (epoch, position) = (sample / self.count, sample % self.count);
        let place = Permutation::derive(self.count, self.seed, "order of sequences", epoch).at(position);
        let room = self.shards.num_tokens() - 1 - self.count * self.seq_len as u64;
        let offset = Random::derive(self.seed, "first token of an epoch", epoch).below(room.min(self.seq_len as u64 - 1) + 1);
        self.row(offset + place * self.seq_len as u64)
    }

    fn row(&self, start: u64) -> Result<Row> {
        let mut tokens = vec![0; self.seq_len + 1];
        self.shards.read(start, &mut tokens)?;
        Ok(Row { tokens: tokens.into_iter().map(i64::from).collect(), in_loss: vec![true; self.seq_len + 1] })
    }
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
