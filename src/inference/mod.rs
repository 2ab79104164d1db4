//! The inference engine: a model folder or GGUF file at work without libtorch, on packed ternary weights. Owns loading, the forward pass over caches,
//! sampling and generation; the products of packed matrices are `ternary`'s.
//!
//! The training half's decoder computes the same with libtorch; `tests/inference_parity.rs` holds both together.

mod attention;
mod cache;
mod chat;
mod engine;
mod feed_forward;
#[cfg(test)]
mod folder_tests;
mod from_gguf;
mod generate;
#[cfg(test)]
mod generate_tests;
#[cfg(test)]
mod golden_tests;
mod inspection;
mod linear;
#[cfg(test)]
mod mapped_tests;
mod memory;
mod model;
mod norm;
mod number;
mod parallel;
mod random_folder;
mod ranking;
#[cfg(test)]
mod reference;
mod rotary;
mod sampling;
#[cfg(test)]
mod sampling_tests;
mod source;
mod stop_strings;
mod stored;
mod table;
mod tensors;
#[cfg(test)]
pub(crate) mod test_folder;
#[cfg(test)]
mod variant_tests;
mod weights;
mod workspace;

pub use cache::{Cache, CacheFormat};
pub use engine::{Engine, SuggestedSampling};
pub use generate::{Continuation, Ending, GenerationOptions, Piece, Summary};
pub use inspection::{Codes, Inspection, TensorInspection};
pub use memory::{Memory, generate};
pub use model::{LoadOptions, Model};
pub use random_folder::write_random_folder;
pub use sampling::{LogProbabilities, Sampler, SamplingOptions, TokenLogProbability, log_probabilities};
pub use stop_strings::StopStrings;
pub use stored::{NumberType, StoredModel, StoredParameter};
pub use table::HeadFormat;
pub use workspace::{Chunk, Wanted, Workspace};
