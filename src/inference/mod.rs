//! The inference engine: a model folder or GGUF file at work without libtorch, on packed ternary weights. Three rooms, each standing on the
//! one before: what the files hold (`stored`), the network (`layers`), and text from it (`generation`). The products of packed matrices
//! are `ternary`'s, the choice of a token `sampling`'s.
//!
//! The training half's decoder computes the same with libtorch; `tests/inference_parity.rs` holds both together.

#[cfg(test)]
mod folder_tests;
mod generation;
#[cfg(test)]
mod golden_tests;
mod layers;
#[cfg(test)]
mod mapped_tests;
#[cfg(test)]
mod reference;
mod stored;
#[cfg(test)]
pub(crate) mod test_folder;
#[cfg(test)]
mod variant_tests;

pub use crate::folder::SuggestedSampling;
pub use crate::sampling::{LogProbabilities, Sampler, SamplingOptions, TokenLogProbability, log_probabilities};
pub use generation::{Continuation, Ending, Engine, GenerationOptions, Memory, Piece, StopStrings, Summary, generate};
pub use layers::{Cache, CacheFormat, Chunk, HeadFormat, LoadOptions, Model, Wanted, Workspace};
pub use stored::{Codes, Inspection, NumberType, StoredModel, StoredParameter, TensorInspection, write_random_folder};
