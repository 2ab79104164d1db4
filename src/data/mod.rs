//! Where token batches come from. Owns the order in which training sees its data, as pure functions of a seed and an index; what a
//! problem is and which are held out is the business of `tasks`. With feature `text`, also the way of a text corpus to tokens:
//! `documents` reads it, `prepare` makes `shards` of it, a [`Prepared`] directory holds them.

mod arithmetic;
mod batch;
#[cfg(feature = "text")]
mod corpus;
#[cfg(feature = "text")]
pub mod documents;
#[cfg(feature = "hub")]
pub mod hub;
#[cfg(feature = "text")]
mod permutation;
#[cfg(feature = "text")]
mod prefetch;
#[cfg(feature = "text")]
pub mod prepare;
#[cfg(feature = "text")]
mod prepared;
#[cfg(feature = "text")]
pub mod shards;
#[cfg(feature = "text")]
mod windows;

pub use arithmetic::{ArithmeticSource, Loss};
pub use batch::{Batch, IGNORED_TARGET};
#[cfg(feature = "text")]
pub use corpus::{Corpus, Fetched, read_tokenizer};
#[cfg(feature = "text")]
pub use prefetch::Prefetch;
#[cfg(feature = "text")]
pub use prepared::{Manifest, Prepared, Split, SplitRecord, TokenizerRecord};
#[cfg(feature = "text")]
pub use windows::Windows;
