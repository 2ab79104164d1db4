//! What a user can get wrong that types cannot see, checked before any tensor exists: the rules of `rules`, as one verdict on an
//! experiment. Where in a file the key stands is added by `load`.

use super::rules::{self, Problem};
use super::rules_of_data;
use super::{DataConfig, Experiment, ModelConfig};
use crate::{Error, Result};

impl Experiment {
    /// Checks everything that can be checked without a device.
    ///
    /// # Errors
    /// The user's: the first value that cannot be meant, with its key and the cure.
    pub fn validate(&self) -> Result<()> {
        self.first_problem().map_or(Ok(()), |problem| Err(problem.into()))
    }

    pub(super) fn first_problem(&self) -> Option<Problem> {
        let verdict = rules::name(&self.experiment)
            .and_then(|()| rules::model(&self.model))
            .and_then(|()| rules::train(&self.train))
            .and_then(|()| rules::optimizer(&self.train.optimizer))
            .and_then(|()| rules::schedule(&self.train))
            .and_then(|()| rules_of_data::data(self))
            .and_then(|()| rules::cadences(self))
            .and_then(|()| rules::sampling_modes(&self.sampling))
            .and_then(|()| rules_of_data::lengths(self))
            .and_then(|()| rules_of_data::vocabulary(self));
        verdict.err()
    }

    /// What is allowed but unlikely to be meant, as sentences for stderr.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let first = self.train.optimizer.learning_rate;
        if let Some(second) = self.train.schedule.second_stage.as_ref().filter(|stage| stage.learning_rate > first) {
            warnings
                .push(format!("train.schedule.second_stage.learning_rate is {}, above the first stage's {first}", second.learning_rate));
        }
        if let DataConfig::Arithmetic(arithmetic) = &self.data {
            let (held_out, wanted) = (arithmetic.num_held_out(), self.evaluation.num_examples as u64);
            if held_out < wanted {
                warnings.push(format!("evaluation.num_examples is {wanted}, but only about {held_out} operand pairs are held out"));
            }
        }
        warnings
    }
}

impl ModelConfig {
    /// Checks the decoder alone, for one that comes from elsewhere than an experiment.
    ///
    /// # Errors
    /// The user's: the first value that cannot be meant. Keys are named as in an experiment: `model.hidden_size`.
    pub fn validate(&self) -> Result<()> {
        rules::model(self).map_err(Error::from)
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Error::input(problem.message).hint(problem.cure)
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
