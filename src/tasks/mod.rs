//! Tasks: problems and the check of an answer. The check is the metric of an evaluation and the reward of reinforcement learning. Owns
//! which problems are held out of training; `data` turns problems into token batches.

pub mod arithmetic;
mod question;

pub use arithmetic::Arithmetic;
pub use question::Question;

use crate::Result;
use crate::config::{ArithmeticConfig, DataConfig};

/// What a model can be asked, and the check of what it says.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// `a op b = c`.
    Arithmetic(Arithmetic),
}

impl Task {
    /// The task whose problems `config` describes; none where data are text.
    ///
    /// # Errors
    /// A config that leaves nothing to train on, or whose values are out of range.
    pub fn of(config: &DataConfig) -> Result<Option<Self>> {
        match config {
            DataConfig::Arithmetic(config) => Self::arithmetic(config).map(Some),
            DataConfig::Text(_) => Ok(None),
        }
    }

    /// That of problems `a op b = c`.
    ///
    /// # Errors
    /// Those of [`Arithmetic::new`].
    pub fn arithmetic(config: &ArithmeticConfig) -> Result<Self> {
        Arithmetic::new(config).map(Self::Arithmetic)
    }

    /// Every character that problems and answers are written with, in the order of their token ids.
    pub fn alphabet(&self) -> &'static str {
        match self {
            Self::Arithmetic(_) => arithmetic::ALPHABET,
        }
    }

    /// What ends an answer in training text.
    pub fn terminator(&self) -> &'static str {
        match self {
            Self::Arithmetic(_) => "\n",
        }
    }

    /// Questions that training never sees: for each group up to `num_per_group` of them, chosen by `seed` without repeats.
    pub fn held_out_questions(&self, seed: u64, num_per_group: usize) -> Vec<Question> {
        match self {
            Self::Arithmetic(task) => task.held_out_problems(seed, num_per_group).into_iter().map(Question::from).collect(),
        }
    }

    /// The question that `prompt` asks, or `None` if it is none of this task.
    pub fn question(&self, prompt: &str) -> Option<Question> {
        match self {
            Self::Arithmetic(_) => prompt.parse::<arithmetic::Problem>().ok().map(Question::from),
        }
    }

    /// Whether `completion`, the text that a model added to the prompt, answers `question`.
    pub fn is_correct(&self, question: &Question, completion: &str) -> bool {
        match self {
            Self::Arithmetic(_) => arithmetic::says(completion, &question.answer),
        }
    }
}
