//! What an experiment means before there are tensors: its tokenizer, its objective, and the files that every checkpoint shares.

use super::objective::Objective;
use super::pretrain::Pretraining;
use super::save::{Constants, ending_ids};
use crate::Result;
use crate::config::Experiment;
use crate::tasks::Task;
use crate::tokenizer::Tokenizer;

/// Everything of an experiment that has no weights.
pub struct Plan {
    pub(super) tokenizer: Tokenizer,
    pub(super) objective: Box<dyn Objective>,
    /// Tokens that end a sample.
    pub(super) endings: Vec<u32>,
    pub(super) constants: Constants,
}

impl Plan {
    /// The plan of `experiment`, with its objective at the beginning.
    pub fn new(experiment: &Experiment) -> Result<Self> {
        let tokenizer = Tokenizer::characters(Task::new(&experiment.data)?.alphabet(), experiment.model.vocab_size)?;
        let objective: Box<dyn Objective> = Box::new(Pretraining::new(experiment, &tokenizer)?);
        let constants = Constants::new(experiment, &tokenizer, objective.fingerprint())?;
        let endings = ending_ids(experiment, &tokenizer)?;
        Ok(Self { tokenizer, objective, endings, constants })
    }
}
