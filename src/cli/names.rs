//! What models are called: where imported ones lie, and how one on the hub is named.

/// Where imported models go.
pub const MODELS: &str = "models";

/// The parts of what may be the id of a model on the hub.
pub(super) fn owner_and_name(id: &str) -> Option<(&str, &str)> {
    let is_part = |part: &str| {
        let is_first = |character: char| character.is_ascii_alphanumeric() || character == '_';
        part.starts_with(is_first) && part.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
    };
    id.split_once('/').filter(|(owner, name)| is_part(owner) && is_part(name))
}
