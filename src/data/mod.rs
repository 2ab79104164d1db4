//! Where token batches come from. Owns the order in which training sees its data, as pure functions of a seed and an index; what a
//! problem is and which are held out is the business of `tasks`.

mod arithmetic;
mod batch;
#[cfg(feature = "hub")]
pub mod hub;

pub use arithmetic::{ArithmeticSource, Loss};
pub use batch::{Batch, IGNORED_TARGET};
