//! What every part of `bitnet` stands on, and what computes most: errors, random numbers, ternary matrices, vectors of float32. `bitnet` has
//! these modules as its own; nobody else needs to name this crate.

pub mod dense;
pub mod error;
pub mod random;
pub mod ternary;

pub use error::{Context, Error, Fault, Result};
