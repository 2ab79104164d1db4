//! Where an export may be written: at a free place or, by force, in place of an earlier model folder, but never over its own source or a
//! checkpoint.

use crate::folder::CONFIG;
use crate::storage::{EntryKind, FileSystem};
use crate::{Context, Error, Result};
use std::io::ErrorKind;
use std::path::Path;

/// Refuses an `output` that is there and not empty, unless `is_forced` and it is a model folder that nothing depends on. `source` is the
/// folder that is exported.
///
/// # Errors
/// The user's, with a hint.
pub fn require_place(fs: &dyn FileSystem, output: &Path, source: &Path, is_forced: bool) -> Result<()> {
    let listed = match fs.list(output) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(refused(output, "is a file").hint("name a folder with -o"));
        }
        listed => listed.context(|| format!("listing {}", output.display())).map_err(Error::blame_input)?,
    };
    if listed.is_empty() {
        return Ok(());
    }
    if !is_forced {
        return Err(refused(output, "is there already").hint("name another folder with -o, or replace it with --force"));
    }
    let holds = |name: &str| listed.iter().any(|entry| entry.name == name && entry.kind == EntryKind::File);
    let (output_path, source_path) = (output.canonicalize()?, source.canonicalize()?);
    if source_path.starts_with(&output_path) {
        return Err(refused(output, "holds the model that is exported").hint("name another folder with -o"));
    }
    if holds("COMPLETE") || holds("trainer.json") {
        return Err(refused(output, "is a checkpoint of a run").hint("name another folder with -o"));
    }
    if !holds(CONFIG) {
        return Err(refused(output, "is no model folder, so that it is not replaced").hint("name another folder with -o"));
    }
    Ok(())
}

fn refused(output: &Path, what: &str) -> Error {
    Error::input(format!("{} {what}", output.display()))
}
