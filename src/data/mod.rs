//! Where token batches come from. Owns the order in which training sees its data, as pure functions of a seed and an index; what a
//! problem is and which are held out is left to `tasks`. Also the way of a text corpus to tokens:
//! `documents` reads it, `prepare` makes `shards` of it, a [`Prepared`] directory holds them.

mod arithmetic;
mod batch;
mod corpus;
pub mod documents;
pub mod hub;
mod integrity;
mod permutation;
mod prefetch;
pub mod prepare;
mod prepared;
pub mod shards;
mod windows;

pub use arithmetic::ArithmeticSource;
pub use batch::{Batch, IGNORED_TARGET};
pub use corpus::{Corpus, Fetched, read_tokenizer};
pub use integrity::IntegrityCheck;
pub use prefetch::Prefetch;
pub use prepared::{Manifest, Prepared, Split, SplitRecord, TokenizerRecord};
pub use windows::Windows;
