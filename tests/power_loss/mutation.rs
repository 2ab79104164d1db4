//! The protocol with one step left out, by a file system that does not do what it is told, and the moment at which a life ends.

use bitnet::storage::testing::{Answer, Call, ForgetfulFileSystem, InterceptedFileSystem, Operation};
use bitnet::storage::{Entry, FileSystem, Metadata, StoredFile};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The step of the protocol that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    None,
    /// The sync of the file of this name, in a checkpoint.
    SkipFileSync(&'static str),
    SkipTemporaryDirectorySync,
    /// The sync of `checkpoints/` that follows a rename to a name that begins so.
    SkipSyncAfter(&'static str),
    /// The sync of `checkpoints/` before any rename of a life.
    SkipSyncAtStart,
    SkipRunDirectorySync,
    SkipLogSync,
    /// `COMPLETE` and both syncs of a save come before the other files.
    CompleteFirst,
    /// Files are written under the final name from the start.
    WriteInPlace,
}

/// Files that are yet to be written: where, and what.
type LateFiles = Arc<Mutex<Vec<(PathBuf, Vec<u8>)>>>;

/// A file system that leaves out what the mutation says, and fails every call once the life is over.
pub struct Bent {
    inner: InterceptedFileSystem<ForgetfulFileSystem>,
    mutation: Mutation,
    late_files: LateFiles,
}

#[derive(Default)]
struct Memory {
    num_calls: u64,
    renamed_to: Option<String>,
}

impl Bent {
    /// The life ends after `num_calls`, if that is a number.
    pub fn new(disk: ForgetfulFileSystem, mutation: Mutation, num_calls: Option<u64>) -> Self {
        let memory = Mutex::new(Memory::default());
        let decide = move |call: Call<'_>| {
            let mut memory = memory.lock().unwrap();
            memory.num_calls += 1;
            if num_calls.is_some_and(|limit| memory.num_calls > limit) {
                return Answer::Fail(io::Error::other("this life is over"));
            }
            if call.operation == Operation::Rename {
                memory.renamed_to = call.to.map(name_of);
            }
            if is_left_out(mutation, call, memory.renamed_to.as_deref()) { Answer::Skip } else { Answer::Pass }
        };
        Self { inner: InterceptedFileSystem::new(disk, decide), mutation, late_files: Arc::default() }
    }

    /// Where a path is with this mutation.
    fn place(&self, path: &Path) -> PathBuf {
        if self.mutation != Mutation::WriteInPlace {
            return path.to_owned();
        }
        let parts = path.components().map(|part| {
            let name = part.as_os_str().to_string_lossy();
            match name.strip_prefix(".tmp-").and_then(|rest| rest.split('-').next()).filter(|step| step.parse::<u64>().is_ok()) {
                Some(step) => PathBuf::from(format!("step-{step}")),
                None => PathBuf::from(name.into_owned()),
            }
        });
        parts.collect()
    }

    fn is_late(&self, path: &Path) -> bool {
        self.mutation == Mutation::CompleteFirst && is_in_temporary(path) && name_of(path) != "COMPLETE"
    }

    fn write_late_files(&self) -> io::Result<()> {
        for (path, content) in self.late_files.lock().unwrap().drain(..) {
            let mut file = self.inner.create(&path)?;
            file.write_all(&content)?;
            file.sync()?;
        }
        Ok(())
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_in_temporary(path: &Path) -> bool {
    path.parent().is_some_and(|parent| name_of(parent).starts_with(".tmp-"))
}

fn is_left_out(mutation: Mutation, call: Call<'_>, renamed_to: Option<&str>) -> bool {
    let name = name_of(call.path);
    let is_sync_of_checkpoints = call.operation == Operation::SyncDir && name == "checkpoints";
    match mutation {
        Mutation::None | Mutation::CompleteFirst | Mutation::WriteInPlace => false,
        Mutation::SkipFileSync(file) => call.operation == Operation::Sync && name == file,
        Mutation::SkipTemporaryDirectorySync => call.operation == Operation::SyncDir && name.starts_with(".tmp-"),
        Mutation::SkipSyncAfter(prefix) => is_sync_of_checkpoints && renamed_to.is_some_and(|name| name.starts_with(prefix)),
        Mutation::SkipSyncAtStart => is_sync_of_checkpoints && renamed_to.is_none(),
        Mutation::SkipRunDirectorySync => call.operation == Operation::SyncDir && call.path == Path::new(super::trial::RUN),
        Mutation::SkipLogSync => call.operation == Operation::Sync && name == "metrics.csv",
    }
}

/// A file that reaches the disk only when its directory is renamed.
struct LateFile {
    path: PathBuf,
    content: Vec<u8>,
    files: LateFiles,
}

impl Write for LateFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.content.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StoredFile for LateFile {
    fn sync(&mut self) -> io::Result<()> {
        self.files.lock().unwrap().push((self.path.clone(), self.content.clone()));
        Ok(())
    }
}

impl FileSystem for Bent {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(&self.place(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        if self.is_late(path) {
            return Ok(Box::new(LateFile { path: path.to_owned(), content: Vec::new(), files: Arc::clone(&self.late_files) }));
        }
        self.inner.create(&self.place(path))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        self.inner.append(&self.place(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        self.inner.open(&self.place(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(&self.place(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.write_late_files()?;
        if self.place(from) == self.place(to) {
            return Ok(());
        }
        self.inner.rename(&self.place(from), &self.place(to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(&self.place(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(&self.place(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.inner.list(&self.place(path))
    }

    /// In place, the final name is never seen as taken.
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        if self.mutation == Mutation::WriteInPlace && name_of(path).starts_with("step-") {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.inner.metadata(&self.place(path))
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.inner.free_space(path)
    }
}
