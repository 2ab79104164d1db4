//! A file system in memory that remembers after a power cut only what was synced, and of the rest whatever hurts most.

use super::SplitMix64;
use super::forgetful_nodes::{Change, Directory, File, Node, NodeId};
use crate::error::lock;
use crate::storage::{Entry, EntryKind, FileSystem, Metadata, StoredFile};
use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard};

/// A file system in memory that a [`power_cut`](Self::power_cut) treats as harshly as POSIX allows: what was written to a file since its
/// last sync is lost, cut short, zero-filled or mixed; any subset of the creations, renames and removals in a directory since its last
/// sync has happened. Each of them is atomic. A rename stays within its directory. Clones share the content.
#[derive(Debug, Clone)]
pub struct ForgetfulFileSystem {
    state: Arc<Mutex<State>>,
}

const ROOT: NodeId = 0;

#[derive(Debug)]
struct State {
    nodes: Vec<Node>,
    /// Power cuts so far: a file opened before one is of no use after it.
    num_cuts: u64,
    free_space: u64,
}

impl Default for ForgetfulFileSystem {
    fn default() -> Self {
        Self::new()
    }
}

impl ForgetfulFileSystem {
    /// An empty root directory.
    pub fn new() -> Self {
        let state = State { nodes: vec![Node::Directory(Directory::default())], num_cuts: 0, free_space: u64::MAX };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Forgets what was not synced. What is left is durable; files that are open turn useless. The same seed forgets the same.
    pub fn power_cut(&self, seed: u64) {
        let mut state = self.state();
        let mut survivors = vec![Node::Directory(Directory::default())];
        state.survive(ROOT, ROOT, &mut survivors, &mut SplitMix64::new(seed));
        state.nodes = survivors;
        state.num_cuts += 1;
    }

    /// What [`free_space`](FileSystem::free_space) answers; nothing ever runs out.
    pub fn set_free_space(&self, bytes: u64) {
        self.state().free_space = bytes;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn handle(&self, node: NodeId) -> Box<dyn StoredFile> {
        Box::new(Handle { num_cuts: self.state().num_cuts, state: Arc::clone(&self.state), node })
    }
}

impl State {
    /// Puts what is left of `node`, and of all below it, into `survivors[place]`.
    fn survive(&self, node: NodeId, place: NodeId, survivors: &mut Vec<Node>, random: &mut SplitMix64) {
        survivors[place] = match &self.nodes[node] {
            Node::File(file) => Node::File(file.after_power_cut(random)),
            Node::Directory(directory) => {
                let mut entries = directory.entries_after_power_cut(random);
                for entry in entries.values_mut() {
                    survivors.push(Node::File(File::default()));
                    let below = survivors.len() - 1;
                    self.survive(*entry, below, survivors, random);
                    *entry = below;
                }
                Node::Directory(Directory::synced(entries))
            }
        };
    }

    fn find(&self, path: &Path) -> io::Result<NodeId> {
        names_of(path)?.iter().try_fold(ROOT, |node, name| match &self.nodes[node] {
            Node::Directory(directory) => directory.entries().get(name).copied().ok_or_else(|| ErrorKind::NotFound.into()),
            Node::File(_) => Err(ErrorKind::NotADirectory.into()),
        })
    }

    fn directory(&mut self, path: &Path) -> io::Result<&mut Directory> {
        let node = self.find(path)?;
        match &mut self.nodes[node] {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&mut self, node: NodeId) -> io::Result<&mut File> {
        match &mut self.nodes[node] {
            Node::File(file) => Ok(file),
            Node::Directory(_) => Err(ErrorKind::IsADirectory.into()),
        }
    }

    /// The file at `path`, made when absent.
    fn file_to_write(&mut self, path: &Path) -> io::Result<NodeId> {
        match self.find(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.add(path, Node::File(File::default())),
            found => found,
        }
    }

    fn add(&mut self, path: &Path, node: Node) -> io::Result<NodeId> {
        let (parent, name) = split(path)?;
        let place = self.nodes.len();
        self.directory(parent)?.change(Change::Set(name, place));
        self.nodes.push(node);
        Ok(place)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = split(path)?;
        self.directory(parent)?.change(Change::Remove(name));
        Ok(())
    }

    fn is_in_the_way(&self, node: NodeId) -> bool {
        matches!(&self.nodes[node], Node::Directory(directory) if !directory.entries().is_empty())
    }
}

fn names_of(path: &Path) -> io::Result<Vec<String>> {
    let parts = path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
    parts
        .map(|part| match part {
            Component::Normal(name) => Ok(name.to_string_lossy().into_owned()),
            _ => Err(ErrorKind::InvalidInput.into()),
        })
        .collect()
}

fn split(path: &Path) -> io::Result<(&Path, String)> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    Ok((path.parent().unwrap_or(Path::new("")), name.to_string_lossy().into_owned()))
}

struct Handle {
    state: Arc<Mutex<State>>,
    node: NodeId,
    num_cuts: u64,
}

impl Handle {
    fn with_file(&self, act: impl FnOnce(&mut File)) -> io::Result<()> {
        let mut state = lock(&self.state);
        if state.num_cuts != self.num_cuts {
            return Err(io::Error::other("the file was open when the power was cut"));
        }
        state.file(self.node).map(act)
    }
}

impl Write for Handle {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.with_file(|file| file.append(buffer)).map(|()| buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StoredFile for Handle {
    fn sync(&mut self) -> io::Result<()> {
        self.with_file(File::sync)
    }
}

impl FileSystem for ForgetfulFileSystem {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        match state.find(path) {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(_) => state.add(path, Node::Directory(Directory::default())).map(|_| ()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        let node = self.state().file_to_write(path)?;
        self.state().file(node)?.truncate();
        Ok(self.handle(node))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        let node = self.state().file_to_write(path)?;
        self.state().file(node)?;
        Ok(self.handle(node))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        let mut state = self.state();
        let node = state.find(path)?;
        Ok(Box::new(Cursor::new(state.file(node)?.content().to_vec())))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.state().directory(path).map(Directory::sync)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let node = state.find(from)?;
        let ((parent, from), (new_parent, to_name)) = (split(from)?, split(to)?);
        if names_of(parent)? != names_of(new_parent)? {
            return Err(ErrorKind::Unsupported.into());
        }
        match state.find(to) {
            Ok(there) if state.is_in_the_way(there) => Err(ErrorKind::DirectoryNotEmpty.into()),
            _ => {
                state.directory(parent)?.change(Change::Rename(from, to_name, node));
                Ok(())
            }
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let node = state.find(path)?;
        state.file(node)?;
        state.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.directory(path)?.entries().is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        state.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.state();
        let entries = state.directory(path)?.entries().clone();
        let kind = |node: NodeId| if matches!(state.nodes[node], Node::File(_)) { EntryKind::File } else { EntryKind::Directory };
        Ok(entries.into_iter().map(|(name, node)| Entry { name, kind: kind(node) }).collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let state = self.state();
        Ok(match &state.nodes[state.find(path)?] {
            Node::File(file) => Metadata { kind: EntryKind::File, len: file.content().len() as u64 },
            Node::Directory(_) => Metadata { kind: EntryKind::Directory, len: 0 },
        })
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let state = self.state();
        state.find(path).map(|_| state.free_space)
    }
}
