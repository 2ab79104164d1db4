//! Where training text comes from and how it becomes token ids.

use serde::{Deserialize, Serialize};

/// How text becomes token ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenizerConfig {
    /// One token for each character of the data's alphabet.
    Characters,
}

/// Where problems or text come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DataConfig {
    /// Arithmetic problems made on the fly.
    Arithmetic(ArithmeticConfig),
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
