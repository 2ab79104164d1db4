//! The experiment that the tests of this module start from.

use super::Experiment;

/// The text of tests/fixtures/example/config.yaml: the arithmetic experiment as it once was, so that tuning that changes no test.
pub(super) const TEXT: &str = include_str!("../../tests/fixtures/example/config.yaml");

/// What it resolves to.
pub(super) fn experiment() -> Experiment {
    Experiment::from_yaml(TEXT, "config.yaml").expect("the arithmetic experiment is valid")
}
