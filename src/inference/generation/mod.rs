//! From a prompt to text: a model with its tokenizer, and the loop from token to token.

mod continuation;
mod engine;
#[cfg(test)]
mod generate_tests;
mod memory;
mod stop_strings;

pub use continuation::{Continuation, Ending, GenerationOptions, Piece, Summary};
pub use engine::Engine;
pub use memory::{Memory, generate};
pub use stop_strings::StopStrings;
