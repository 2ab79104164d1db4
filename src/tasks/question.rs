//! A question as text, whatever task it is of.

/// One question of any task, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Answers are counted per group: `add`, `subtract` ...
    pub group: &'static str,
    /// What the model is given.
    pub prompt: String,
    /// What it should say, without surrounding spaces.
    pub answer: String,
    /// What stands after the prompt in training text, to the last character: the answer as it is written there.
    pub completion: String,
}
