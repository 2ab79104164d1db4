//! Arithmetic problems `a op b = c`: how they are written, which of them are held out, and the least loss that any model can reach on
//! them. Owns the rule of what is held out; drawing training problems is the business of `data`.

use super::Question;
use crate::config::{ArithmeticConfig, OperatorShares};
use crate::tokenizer::{EOS_ID, SPECIAL_TOKENS};
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Every character of a line, in the order of their token ids.
pub const ALPHABET: &str = "\n 0123456789+-*/=";

/// All pairs of operands are enumerated, so they must stay few: this makes a million.
pub const LARGEST_OPERAND: u32 = 999;

/// Separates the hash that holds pairs out from every other hash. A new rule needs a new text.
const HELD_OUT_DOMAIN: &str = "bitnet arithmetic 2026: which operand pairs are held out";
/// Separates the hash that orders held-out problems.
const SAMPLE_DOMAIN: &str = "bitnet arithmetic 2026: order of held-out problems";

/// What is done with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
    /// Rounds down; the divisor is at least 1.
    Divide,
}

impl Operator {
    /// All of them, in the order of the config.
    pub const ALL: [Self; 4] = [Self::Add, Self::Subtract, Self::Multiply, Self::Divide];

    /// The character between the operands.
    pub fn symbol(self) -> char {
        match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
            Self::Divide => '/',
        }
    }

    /// The name that the config and the metrics use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
        }
    }

    /// How often `shares` asks this operator, as written.
    pub fn share(self, shares: &OperatorShares) -> f64 {
        match self {
            Self::Add => shares.add,
            Self::Subtract => shares.subtract,
            Self::Multiply => shares.multiply,
            Self::Divide => shares.divide,
        }
    }
}

/// One problem. A divisor is never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Problem {
    left: u32,
    operator: Operator,
    right: u32,
}

impl Problem {
    /// `left operator right`, or `None` for a division by zero.
    pub fn new(left: u32, operator: Operator, right: u32) -> Option<Self> {
        let divides_by_zero = operator == Operator::Divide && right == 0;
        (!divides_by_zero).then_some(Self { left, operator, right })
    }

    /// The operand before the operator.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// What is done with the operands.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The operand after the operator.
    pub fn right(&self) -> u32 {
        self.right
    }

    /// The result as a number.
    pub fn value(&self) -> i128 {
        let (left, right) = (i128::from(self.left), i128::from(self.right));
        match self.operator {
            Operator::Add => left + right,
            Operator::Subtract => left - right,
            Operator::Multiply => left * right,
            Operator::Divide => left / right,
        }
    }

    /// What a model is given: `25 + 17 =`, with no space at the end.
    pub fn prompt(&self) -> String {
        format!("{} {} {} =", self.left, self.operator.symbol(), self.right)
    }

    /// The result as text: `42`, `-3`.
    pub fn answer(&self) -> String {
        self.value().to_string()
    }

    /// What training sees: `25 + 17 = 42` and a newline.
    pub fn line(&self) -> String {
        format!("{} {}\n", self.prompt(), self.answer())
    }
}

/// Reads a prompt: two numbers around an operator, with or without spaces and a final `=`.
impl FromStr for Problem {
    type Err = Error;

    fn from_str(prompt: &str) -> Result<Self> {
        let malformed = || Error::input(format!("{prompt:?} is not an arithmetic problem")).hint("write one as \"25 + 17 =\"");
        let question = prompt.trim().trim_end_matches('=');
        let (position, operator) = operator_in(question).ok_or_else(malformed)?;
        let operand = |text: &str| text.trim().parse::<u32>().map_err(|_| malformed());
        let (left, right) = (operand(&question[..position])?, operand(&question[position + 1..])?);
        Self::new(left, operator, right).ok_or_else(|| Error::input(format!("{prompt:?} divides by zero")))
    }
}

/// Where the first operator of `text` stands, in bytes, and which it is.
fn operator_in(text: &str) -> Option<(usize, Operator)> {
    let operator_of = |character| Operator::ALL.into_iter().find(|operator| operator.symbol() == character);
    text.char_indices().find_map(|(position, character)| Some((position, operator_of(character)?)))
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.prompt())
    }
}

impl From<Problem> for Question {
    fn from(problem: Problem) -> Self {
        Self {
            group: problem.operator.name(),
            prompt: problem.prompt(),
            answer: problem.answer(),
            completion: format!(" {}\n", problem.answer()),
        }
    }
}

/// Whether `completion`, the text that a model added to the prompt of `problem`, is its answer: up to the first newline or `<eos>`,
/// without surrounding spaces, digit for digit.
pub fn check(problem: &Problem, completion: &str) -> bool {
    says(completion, &problem.answer())
}

/// [`check`] against an answer that is text already.
pub(super) fn says(completion: &str, answer: &str) -> bool {
    let line = completion.split('\n').next().unwrap_or_default();
    let said = line.split(SPECIAL_TOKENS[EOS_ID as usize]).next().unwrap_or_default();
    said.trim_matches(' ') == answer
}

/// Whether training never sees `left` and `right`, in either order, under any operator: a share of `percent` of all pairs, by a hash that
/// has nothing to do with arithmetic, so that no answer and no last digit is held out as a whole.
pub fn is_held_out(left: u32, right: u32, percent: u32) -> bool {
    hash(HELD_OUT_DOMAIN, &[u64::from(left.min(right)), u64::from(left.max(right))]) % 100 < u64::from(percent)
}

/// The first 64 bits of a hash of `numbers` that `domain` separates from every other.
fn hash(domain: &str, numbers: &[u64]) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key(domain);
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

/// The task: which problems there are, how often each operator is asked, and which pairs are held out.
#[derive(Debug, Clone, PartialEq)]
pub struct Arithmetic {
    probabilities: [f64; 4],
    training: Pairs,
    held_out: Pairs,
}

/// Ordered pairs of operands.
#[derive(Debug, Clone, Default, PartialEq)]
struct Pairs {
    all: Vec<(u32, u32)>,
    with_divisor: Vec<(u32, u32)>,
}

impl Pairs {
    fn push(&mut self, left: u32, right: u32) {
        self.all.push((left, right));
        if right != 0 {
            self.with_divisor.push((left, right));
        }
    }

    fn of(&self, operator: Operator) -> &[(u32, u32)] {
        if operator == Operator::Divide { &self.with_divisor } else { &self.all }
    }
}

impl Arithmetic {
    /// Enumerates all pairs of operands once and splits them.
    ///
    /// # Errors
    /// Operands beyond [`LARGEST_OPERAND`], shares that are negative, not finite or all zero, and a held-out share that leaves an
    /// operator without training pairs.
    pub fn new(config: &ArithmeticConfig) -> Result<Self> {
        let probabilities = probabilities(&config.operators)?;
        if config.largest_operand > LARGEST_OPERAND {
            let message = format!("data.arithmetic.largest_operand is {}, more than {LARGEST_OPERAND}", config.largest_operand);
            return Err(Error::input(message).hint("all pairs of operands are enumerated; choose smaller operands"));
        }
        let (mut training, mut held_out) = (Pairs::default(), Pairs::default());
        for (left, right) in (0..=config.largest_operand).flat_map(|left| (0..=config.largest_operand).map(move |right| (left, right))) {
            let side = if is_held_out(left, right, config.held_out_percent) { &mut held_out } else { &mut training };
            side.push(left, right);
        }
        let task = Self { probabilities, training, held_out };
        task.refuse_untrainable(config)?;
        task.refuse_unmeasurable(config)?;
        Ok(task)
    }

    fn refuse_untrainable(&self, config: &ArithmeticConfig) -> Result<()> {
        match self.asked().find(|(operator, _)| self.training_pairs(*operator).is_empty()) {
            Some((operator, _)) => {
                let (percent, name) = (config.held_out_percent, operator.name());
                let message = format!("data.arithmetic.held_out_percent is {percent}: no pair is left to train {name} on");
                Err(Error::input(message).hint("lower held_out_percent, or raise largest_operand"))
            }
            None => Ok(()),
        }
    }

    /// Where something is to be held out, there must be something of every operator.
    fn refuse_unmeasurable(&self, config: &ArithmeticConfig) -> Result<()> {
        if config.held_out_percent == 0 {
            return Ok(());
        }
        match self.asked().find(|(operator, _)| self.held_out_pairs(*operator).is_empty()) {
            Some((operator, _)) => {
                let (percent, name) = (config.held_out_percent, operator.name());
                let message = format!("data.arithmetic.held_out_percent is {percent}: no pair is held out to measure {name} on");
                Err(Error::input(message).hint("raise held_out_percent or largest_operand"))
            }
            None => Ok(()),
        }
    }

    /// The operators that are asked at all, each with its probability; the probabilities add up to 1.
    pub fn asked(&self) -> impl Iterator<Item = (Operator, f64)> {
        Operator::ALL.into_iter().zip(self.probabilities).filter(|(_, probability)| *probability > 0.0)
    }

    /// The pairs of operands that training draws from for `operator`, each equally often.
    pub fn training_pairs(&self, operator: Operator) -> &[(u32, u32)] {
        self.training.of(operator)
    }

    /// The pairs of operands that training never sees under any operator.
    pub fn held_out_pairs(&self, operator: Operator) -> &[(u32, u32)] {
        self.held_out.of(operator)
    }

    /// For each operator that is asked, up to `num_per_operator` held-out problems, chosen by `seed` without repeats; all if there are
    /// fewer. A larger number only adds problems.
    pub fn held_out_problems(&self, seed: u64, num_per_operator: usize) -> Vec<Problem> {
        self.asked().flat_map(|(operator, _)| self.sample(operator, seed, num_per_operator)).collect()
    }

    fn sample(&self, operator: Operator, seed: u64, num_problems: usize) -> Vec<Problem> {
        let pairs = self.held_out_pairs(operator).iter();
        let mut problems: Vec<Problem> = pairs.filter_map(|&(left, right)| Problem::new(left, operator, right)).collect();
        let place = |problem: &Problem| hash(SAMPLE_DOMAIN, &[seed, operator as u64, problem.left.into(), problem.right.into()]);
        problems.sort_by_cached_key(place);
        problems.truncate(num_problems);
        problems
    }

    /// The least loss that any model can reach on all tokens of training lines, in nats per token: the entropy of (operator, left,
    /// right) over the mean length of a line, both by enumeration. The answer follows from the operands, so on the answer alone the
    /// least loss is 0. (In a packed row the first character is not predicted and a line that no longer fits is left out; neither is
    /// counted here.)
    pub fn entropy_floor(&self) -> f64 {
        let entropy: f64 =
            self.asked().map(|(operator, share)| share * ((self.training_pairs(operator).len() as f64).ln() - share.ln())).sum();
        let mean_length: f64 = self.asked().map(|(operator, share)| share * self.mean_line_length(operator)).sum();
        entropy / mean_length
    }

    /// A length that no line exceeds, in characters, the newline included.
    pub fn longest_line(&self) -> usize {
        let largest = self.training.all.iter().chain(&self.held_out.all).map(|&(left, _)| i64::from(left)).max().unwrap_or_default();
        let extreme = |operator| match operator {
            Operator::Add => 2 * largest,
            Operator::Subtract => -largest,
            Operator::Multiply => largest * largest,
            Operator::Divide => largest,
        };
        let length = |operator: Operator| format!("{largest} {} {largest} = {}\n", operator.symbol(), extreme(operator)).len();
        self.asked().map(|(operator, _)| length(operator)).max().unwrap_or_default()
    }

    /// Mean number of characters in the training lines of `operator`, the newline included.
    fn mean_line_length(&self, operator: Operator) -> f64 {
        let pairs = self.training_pairs(operator);
        let lengths = pairs.iter().filter_map(|&(left, right)| Some(Problem::new(left, operator, right)?.line().len()));
        lengths.sum::<usize>() as f64 / pairs.len() as f64
    }
}

/// The operators' shares, scaled to add up to 1.
fn probabilities(shares: &OperatorShares) -> Result<[f64; 4]> {
    let shares = Operator::ALL.map(|operator| (operator, operator.share(shares)));
    if let Some((operator, share)) = shares.iter().find(|(_, share)| !share.is_finite() || *share < 0.0) {
        return Err(Error::input(format!("data.arithmetic.operators.{} is {share}, not a share of 0 or more", operator.name())));
    }
    let total: f64 = shares.iter().map(|(_, share)| share).sum();
    if total > 0.0 && total.is_finite() {
        Ok(shares.map(|(_, share)| share / total))
    } else {
        Err(Error::input(format!("data.arithmetic.operators add up to {total}")).hint("give at least one operator a share above 0"))
    }
}

#[cfg(test)]
#[path = "arithmetic_tests.rs"]
mod tests;
