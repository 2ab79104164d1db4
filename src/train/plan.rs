//! What an experiment means before there are tensors: its tokenizer, its objective, and the files that every checkpoint shares.

use super::constants::{Constants, ending_ids};
use super::objective::Objective;
use super::pretrain::{Pretraining, TextPretraining};
use crate::Result;
use crate::config::{DataConfig, Experiment};
use crate::data::{Corpus, read_tokenizer};
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
        let (tokenizer, objective): (_, Box<dyn Objective>) = match &experiment.data {
            DataConfig::Arithmetic(arithmetic) => {
                let tokenizer = Tokenizer::characters(Task::arithmetic(arithmetic)?.alphabet(), experiment.model.vocab_size)?;
                let objective = Pretraining::new(experiment, &tokenizer)?;
                (tokenizer, Box::new(objective))
            }
            DataConfig::Text(_) => {
                let prepared = Corpus::of(experiment)?.open()?;
                let tokenizer = read_tokenizer(&prepared.tokenizer_path())?;
                let objective = TextPretraining::new(experiment, &prepared, &tokenizer)?;
                (tokenizer, Box::new(objective))
            }
        };
        let constants = Constants::new(experiment, &tokenizer, objective.fingerprint())?;
        let endings = ending_ids(experiment, &tokenizer)?;
        Ok(Self { tokenizer, objective, endings, constants })
    }
}
