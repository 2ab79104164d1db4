//! The experiment that the tests of this module start from: the one that newcomers run.

use super::Experiment;

/// The text of experiments/arithmetic/config.yaml.
pub(super) const TEXT: &str = include_str!("../../experiments/arithmetic/config.yaml");

/// What it resolves to.
pub(super) fn experiment() -> Experiment {
    Experiment::from_yaml(TEXT, "config.yaml").expect("the arithmetic experiment is valid")
}
