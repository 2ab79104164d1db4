//! The network at work: its layers, what they remember of a text, and the memory of a pass. Weights come from `stored`; what is done with
//! logits is left to `generation`.

mod attention;
mod cache;
mod feed_forward;
mod linear;
mod model;
mod norm;
mod parallel;
mod rotary;
mod table;
mod workspace;

pub use cache::{Cache, CacheFormat};
pub use model::{LoadOptions, Model};
pub use table::HeadFormat;
pub use workspace::{Chunk, Wanted, Workspace};
