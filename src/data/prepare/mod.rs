//! From the documents of a corpus to a prepared directory. Owns the way there: the split, the encoding by threads, what is kept of a
//! preparation that was killed, and that the result depends on nothing but the corpus, the tokenizer and the settings.
//!
//! Consecutive documents of about [`PrepareSettings::unit_bytes`] are a *unit*, which becomes a shard of each split (or of one, if the
//! other gets nothing). The documents of a unit are encoded in rounds of a few mebibytes, by all threads, and written in order: so the
//! number of threads changes no byte, and what is in memory does not grow with the corpus.
//!
//! ```text
//! prepared.json                     the manifest, written last
//! tokenizer.json
//! train-00000.tokens ...            the shards, by unit
//! validation-00000.tokens ...
//! prepare.lock                      one writer at a time
//! units/                            until the manifest is there:
//!   plan.json                         the settings and files that the units are of
//!   00000.json ...                    a unit that is done: its shards, and a hash of its documents; written after the shards
//! ```
//! A preparation that is started again reads every document again, which is cheap, and encodes those of the units that are not done.
//! Units of other settings or files are removed first; so are all where the documents turn out to be others than the hash says.

mod encode;
mod held_out;
mod plan;
mod progress;
mod records;
#[cfg(test)]
mod restart_tests;
mod rounds;
mod run;
mod settings;
mod survey;
#[cfg(test)]
mod test_corpus;
#[cfg(test)]
mod tests;
mod units;

pub use crate::config::HeldOut;
pub use encode::Encode;
pub use progress::{Event, Outcome, Progress};
pub use settings::{PrepareSettings, UNIT_BYTES};
pub use survey::{Survey, survey};

use super::documents::Sources;
use crate::storage::{DISK, FileSystem, Lock, create_dir_durably};
use crate::{Error, Fault, Result};
use std::path::Path;

/// Prepares `directory`, which is made if it is not there: shards of the documents of `sources` in the ids of `tokenizer`. A directory
/// that is prepared already, with the same settings from the same files, is left as it is. `stop` is asked between documents.
///
/// # Errors
/// Those of [`Documents`](super::documents::Documents), a document that the tokenizer refuses, a split that gets no document, settings
/// that cannot be meant, a directory with files of somebody else, another writer. The units that were done are kept, unless the error is the
/// user's: what cures it makes other units of them.
pub fn prepare(
    settings: &PrepareSettings,
    sources: &Sources,
    tokenizer: &dyn Encode,
    directory: &Path,
    threads: usize,
    progress: &mut dyn FnMut(Event),
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<Outcome> {
    let parent = directory.parent().filter(|parent| !parent.exists());
    create_dir_durably(&DISK, directory)?;
    plan::refuse_foreign_files(&DISK, directory)?;
    let _lock = Lock::acquire(&directory.join(plan::LOCK)).map_err(|error| name_cure(error, directory))?;
    let outcome = run::Preparation { fs: &DISK, settings, sources, tokenizer, dir: directory, threads }.run(progress, stop);
    let is_the_users = outcome.as_ref().is_err_and(|error| error.fault() == Fault::Input);
    if !matches!(outcome, Ok(Outcome::Finished(_))) && !plan::is_worth_keeping(&DISK, directory, is_the_users) {
        plan::remove(&DISK, directory);
        let _ = parent.map(|parent| DISK.remove_dir(parent)); // made for this one; it stays where it holds another
    }
    outcome
}

/// The lock's own hint is for runs.
fn name_cure(error: Error, directory: &Path) -> Error {
    error.hint(format!("wait until the other program that prepares {} ends, or stop it", directory.display()))
}
