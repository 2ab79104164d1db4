//! What [`ForgetfulFileSystem`](super::ForgetfulFileSystem) remembers of each file and directory, and what a power cut leaves of it.

use super::SplitMix64;
use std::collections::BTreeMap;

/// The index of a node.
pub(super) type NodeId = usize;

/// A file or directory.
#[derive(Debug, Clone)]
pub(super) enum Node {
    File(File),
    Directory(Directory),
}

/// The content of a file, as synced and as seen.
#[derive(Debug, Clone, Default)]
pub(super) struct File {
    durable: Vec<u8>,
    seen: Vec<u8>,
    /// So many bytes of `seen` have been there, unchanged, since the last sync.
    num_stable: usize,
}

impl File {
    pub(super) fn content(&self) -> &[u8] {
        &self.seen
    }

    pub(super) fn truncate(&mut self) {
        self.seen.clear();
        self.num_stable = 0;
    }

    pub(super) fn append(&mut self, content: &[u8]) {
        self.seen.extend_from_slice(content);
    }

    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.seen);
        self.num_stable = self.seen.len();
    }

    /// After a power cut: as synced, or what was written since whole, cut short, zero-filled, or mixed sector by sector.
    pub(super) fn after_power_cut(&self, random: &mut SplitMix64) -> Self {
        let (stable, unsynced) = self.seen.split_at(self.num_stable);
        let rest = match random.below(5) {
            0 => return Self::synced(self.durable.clone()),
            1 => unsynced.to_vec(),
            2 => unsynced[..random.below(unsynced.len() as u64 + 1) as usize].to_vec(),
            3 => vec![0; unsynced.len()],
            _ => self.mixed_sectors(random),
        };
        Self::synced([stable, &rest].concat())
    }

    fn mixed_sectors(&self, random: &mut SplitMix64) -> Vec<u8> {
        const SECTOR: usize = 8;
        let old = |at: usize| self.durable.get(at).copied().unwrap_or(0);
        let mut mixed = self.seen.clone();
        for sector in (self.num_stable..mixed.len()).step_by(SECTOR) {
            if random.quarters(2) {
                (sector..mixed.len().min(sector + SECTOR)).for_each(|at| mixed[at] = old(at));
            }
        }
        mixed.split_off(self.num_stable)
    }

    fn synced(content: Vec<u8>) -> Self {
        Self { num_stable: content.len(), seen: content.clone(), durable: content }
    }
}

/// The entries of a directory, as synced and as seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    durable: BTreeMap<String, NodeId>,
    seen: BTreeMap<String, NodeId>,
    /// What was done since the last sync, in order.
    pending: Vec<Change>,
}

/// One change of a directory, which happens whole or not at all.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Set(String, NodeId),
    Remove(String),
    Rename(String, String, NodeId),
}

impl Change {
    fn apply(&self, entries: &mut BTreeMap<String, NodeId>) {
        match self {
            Self::Set(name, node) => {
                entries.insert(name.clone(), *node);
            }
            Self::Remove(name) => {
                entries.remove(name);
            }
            Self::Rename(from, to, node) => {
                if entries.get(from) == Some(node) {
                    entries.remove(from);
                }
                entries.insert(to.clone(), *node);
            }
        }
    }
}

impl Directory {
    pub(super) fn entries(&self) -> &BTreeMap<String, NodeId> {
        &self.seen
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.seen);
        self.pending.clear();
    }

    /// The entries after a power cut: those synced, and any subset of the changes since, in their order.
    pub(super) fn entries_after_power_cut(&self, random: &mut SplitMix64) -> BTreeMap<String, NodeId> {
        let mut entries = self.durable.clone();
        let share = random.below(5); // In quarters: none, some, all.
        self.pending.iter().filter(|_| random.quarters(share)).for_each(|change| change.apply(&mut entries));
        entries
    }

    pub(super) fn synced(entries: BTreeMap<String, NodeId>) -> Self {
        Self { durable: entries.clone(), seen: entries, pending: Vec::new() }
    }
}
