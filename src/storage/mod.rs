//! Every file that is written for keeps goes through here: whole or absent, synced, locked. Owns the [`FileSystem`] interface, the
//! real one, the doubles that tests use in its place, and the few ways of writing a file safely; which files there are, and where, is
//! the business of the callers.

mod append;
mod atomic;
mod file_system;
mod hash;
mod lock;
mod mapped;
mod new_folder;
mod real;
mod streamed;
pub mod testing;
#[cfg(test)]
mod tests;

pub use append::AppendFile;
pub use atomic::{create_dir_durably, remove_temporaries, remove_tree, write_atomically};
pub use file_system::{Entry, EntryKind, FileSystem, Metadata, StoredFile, is_out_of_space, read_capped};
pub use hash::{HashingWriter, content_hash, hash_reader};
pub use lock::Lock;
pub use mapped::MappedFile;
pub use new_folder::NewFolder;
pub use real::{DISK, RealFileSystem};
pub use streamed::{StreamedContent, StreamedFile};
