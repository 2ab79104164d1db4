//! Where training data come from. A corpus of text has its keys in `text`.

use super::TextConfig;
use serde::{Deserialize, Serialize};

/// Where problems or text come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DataConfig {
    /// Arithmetic problems made on the fly.
    Arithmetic(ArithmeticConfig),
    /// Documents of text, prepared once.
    Text(TextConfig),
}

/// Problems `a op b = c`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArithmeticConfig {
    /// Operands are 0 to this, both included; a divisor is at least 1.
    pub largest_operand: u32,
    /// Share of operand pairs, in percent, that training never sees, chosen by a hash of the pair.
    pub held_out_percent: u32,
    /// How often each operator is asked; only the ratios matter.
    pub operators: OperatorShares,
}

/// How often each operator is asked; only the ratios matter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorShares {
    pub add: f64,
    pub subtract: f64,
    pub multiply: f64,
    pub divide: f64,
}

impl DataConfig {
    /// The corpus, where there is one.
    pub fn text(&self) -> Option<&TextConfig> {
        match self {
            DataConfig::Arithmetic(_) => None,
            DataConfig::Text(text) => Some(text),
        }
    }
}

impl ArithmeticConfig {
    /// Every character that problems are written with, in code point order: the tokens of a character tokenizer.
    pub const ALPHABET: &'static str = "\n *+-/0123456789=";

    /// How many distinct operand pairs are held out, about.
    pub fn num_held_out(&self) -> u64 {
        let operands = u128::from(self.largest_operand) + 1;
        let held_out = operands * operands * u128::from(self.held_out_percent) / 100;
        u64::try_from(held_out).unwrap_or(u64::MAX)
    }

    /// The longest piece of text that must stay whole within a sequence: `99 * 99 = 9801` and a newline.
    pub fn longest_problem(&self) -> String {
        let largest = i128::from(self.largest_operand);
        let same_digits = 10_i128.pow(largest.max(1).ilog10());
        let OperatorShares { add, subtract, multiply, divide } = self.operators;
        let extremes = [
            (add, format!("{largest} + {largest} = {}\n", largest + largest)),
            (subtract, format!("0 - {largest} = -{largest}\n")),
            (subtract, format!("{same_digits} - {largest} = {}\n", same_digits - largest)),
            (multiply, format!("{largest} * {largest} = {}\n", largest * largest)),
            (divide, format!("{largest} / {largest} = 1\n")),
            (divide, format!("{largest} / 1 = {largest}\n")),
        ];
        let asked = extremes.into_iter().filter(|(share, _)| *share > 0.0).map(|(_, text)| text);
        asked.max_by_key(String::len).unwrap_or_default()
    }
}
