//! Checkpoints: folders that are whole or absent, whatever happens while they are written.
//!
//! A save writes `.tmp-<step>-<pid>/`, syncs each file, then `COMPLETE` with the length and hash of each, then the directory; it renames
//! the directory to `step-NNNNNN` and syncs its parent. That last sync is the commit point: only then is a checkpoint acknowledged, and
//! only then are older ones pruned. Owns names, protocol, verification and pruning; what the files hold is the business of `train`.

mod checkpoint;
mod name;
mod prune;
mod reader;
mod record;
mod save;
mod store;

pub use checkpoint::Checkpoint;
pub use reader::{Checkpoints, DamagedCheckpoint, Latest};
pub use record::{CompleteRecord, FileRecord, Fingerprints};
pub use save::{Begin, CheckpointLabel, NewFile, SaveOutcome};
pub use store::CheckpointStore;
