//! Training text of the arithmetic task: problems drawn on the fly and packed into rows. Owns the draw and the packing; `tasks` owns which
//! pairs are held out and how a problem is written.

use super::batch::{Batch, Row};
use crate::config::ArithmeticConfig;
use crate::random::Random;
use crate::tasks::arithmetic::{Arithmetic, Operator, Problem};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// Endless rows of packed problems. Row `n` is a function of (seed, n) and the row's length alone.
#[derive(Debug, Clone)]
pub struct ArithmeticSource {
    task: Arithmetic,
    tokenizer: Tokenizer,
    seed: u64,
}

impl ArithmeticSource {
    /// Problems of `config` in the ids of `tokenizer`, with the loss on the completion.
    ///
    /// # Errors
    /// Those of [`Arithmetic::new`], and a tokenizer that lacks a character of the problems.
    pub fn new(config: &ArithmeticConfig, tokenizer: &Tokenizer, seed: u64) -> Result<Self> {
        tokenizer.encode(crate::tasks::arithmetic::ALPHABET)?;
        Ok(Self { task: Arithmetic::new(config)?, tokenizer: tokenizer.clone(), seed })
    }

    /// The task that the problems are of.
    pub fn task(&self) -> &Arithmetic {
        &self.task
    }

    /// Batch `index`, which is rows `index * rows` and on: the same whatever was asked before, and the same rows whether they are
    /// taken as one batch or as several smaller ones.
    ///
    /// # Errors
    /// Rows that are too short for some problem, whether or not it is drawn here.
    pub fn batch(&self, index: u64, rows: usize, seq_len: usize) -> Result<Batch> {
        self.refuse_short_rows(seq_len)?;
        let first = index.wrapping_mul(rows as u64);
        let rows: Vec<Row> = (0..rows as u64).map(|row| self.row(first.wrapping_add(row), seq_len)).collect::<Result<_>>()?;
        Batch::from_rows(&rows, seq_len)
    }

    /// A hash of everything that decides which problems are drawn and how often, but not of the seed. For a run's manifest.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("bitnet arithmetic 2026: fingerprint of the training distribution");
        for (operator, probability) in self.task.asked() {
            let pairs = self.task.training_pairs(operator);
            hasher.update(format!("{} {:016x} {}\n", operator.name(), probability.to_bits(), pairs.len()).as_bytes());
            for (left, right) in pairs {
                hasher.update(&left.to_le_bytes()).update(&right.to_le_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    fn refuse_short_rows(&self, seq_len: usize) -> Result<()> {
        let longest = self.task.longest_line();
        if longest <= seq_len + 1 {
            return Ok(());
        }
        let message = format!("train.seq_len is {seq_len}, but a line can have {longest} characters");
        Err(Error::input(message).hint(format!("--seq-len {} or more", longest - 1)))
    }

    /// Whole problems until the next would not fit, then padding.
    fn row(&self, index: u64, seq_len: usize) -> Result<Row> {
        let mut random = Random::derive(self.seed, "arithmetic row", index);
        let mut row = Row::default();
        while self.push(&mut row, &self.draw(&mut random)?, seq_len)? {}
        Ok(self.padded(row, seq_len))
    }

    /// A training problem: an operator by its share, then any of its training pairs.
    fn draw(&self, random: &mut Random) -> Result<Problem> {
        let operator = self.draw_operator(random);
        let pairs = self.task.training_pairs(operator);
        let pair = pairs.get(random.below(pairs.len() as u64) as usize);
        let problem = pair.and_then(|&(left, right)| Problem::new(left, operator, right));
        problem.ok_or_else(|| Error::ours(format!("no training problem of {}", operator.name())))
    }

    fn draw_operator(&self, random: &mut Random) -> Operator {
        let mut rest = random.unit();
        let mut chosen = Operator::Add;
        for (operator, probability) in self.task.asked() {
            chosen = operator;
            if rest < probability {
                break;
            }
            rest -= probability;
        }
        chosen
    }

    /// Adds the line of `problem` to `row` if it fits, and says whether it did.
    fn push(&self, row: &mut Row, problem: &Problem, seq_len: usize) -> Result<bool> {
        let tokens = self.tokenizer.encode(&problem.line())?;
        if row.tokens.len() + tokens.len() > seq_len + 1 {
            return if row.tokens.is_empty() { Err(too_long(problem, tokens.len(), seq_len)) } else { Ok(false) };
        }
        // What a model must add to the prompt `25 + 17 =`: the space, the answer and the newline.
        let loss_from = self.tokenizer.encode(&problem.prompt())?.len();
        row.in_loss.extend((0..tokens.len()).map(|position| position >= loss_from));
        row.tokens.extend(tokens.into_iter().map(i64::from));
        Ok(true)
    }

    fn padded(&self, mut row: Row, seq_len: usize) -> Row {
        row.tokens.resize(seq_len + 1, i64::from(self.tokenizer.filler_id()));
        row.in_loss.resize(seq_len + 1, false);
        row
    }
}

fn too_long(problem: &Problem, length: usize, seq_len: usize) -> Error {
    Error::input(format!("{:?} has {length} tokens, a row only {seq_len} and one more", problem.line().trim_end()))
}

#[cfg(test)]
#[path = "arithmetic_tests.rs"]
mod tests;
