//! Token shards: files of token ids. Owns the file format, the writer, and the reader that makes one long sequence of many files; which
//! text is in them is the business of `prepare`, what is drawn from them that of a sampler.
//!
//! Files are read with positioned reads, and the page cache is the map: a mapped file that another process cuts short would kill this
//! one, where a read is an error that names the file.

mod layout;
mod reader;
#[cfg(test)]
mod tests;
mod width;
mod writer;

pub(super) use layout::{PREPARE_AGAIN, damaged};
pub use reader::TokenShards;
pub use width::{PackedDocuments, TokenWidth};
pub use writer::{ShardRecord, ShardWriter};
