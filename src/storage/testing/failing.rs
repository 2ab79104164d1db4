//! A file system whose n-th call fails: a full disk or a bad sector, once or from then on.

use super::{Answer, Call, InterceptedFileSystem};
use crate::error::lock;
use crate::storage::{Entry, FileSystem, Metadata, StoredFile};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// `ENOSPC`, once.
    DiskFull,
    /// `ENOSPC`, when the call is a write after half of its bytes, once.
    DiskFullHalfWay,
    /// `ENOSPC` for every call that needs space, until healed.
    DiskStaysFull,
    /// `EIO`, once.
    InputOutput,
    /// `EIO` for every call, until healed.
    DiskIsGone,
}

#[derive(Debug, Default)]
struct Plan {
    num_calls: u64,
    failure: Option<(u64, Failure)>,
}

/// A file system whose n-th call fails.
pub struct FailingFileSystem<F> {
    intercepted: InterceptedFileSystem<F>,
    plan: Arc<Mutex<Plan>>,
}

impl<F: FileSystem> FailingFileSystem<F> {
    /// One that does not fail yet.
    pub fn new(inner: F) -> Self {
        let plan = Arc::new(Mutex::new(Plan::default()));
        let asked = Arc::clone(&plan);
        Self { intercepted: InterceptedFileSystem::new(inner, move |call| lock(&asked).answer(call)), plan }
    }

    /// The call after `num_calls` more fails.
    pub fn fail_after(&self, num_calls: u64, failure: Failure) {
        let mut plan = lock(&self.plan);
        plan.failure = Some((plan.num_calls + num_calls, failure));
    }

    /// No call fails any more.
    pub fn heal(&self) {
        lock(&self.plan).failure = None;
    }

    /// Calls so far, those that failed included. Each write and read of a file is one.
    pub fn num_calls(&self) -> u64 {
        lock(&self.plan).num_calls
    }

    /// The file system behind.
    pub fn inner(&self) -> &F {
        self.intercepted.inner()
    }
}

impl Plan {
    fn answer(&mut self, call: Call<'_>) -> Answer {
        let number = self.num_calls;
        self.num_calls += 1;
        match self.failure {
            Some((at, failure)) if number == at || (number > at && lasts(failure)) => fail(failure, call),
            _ => Answer::Pass,
        }
    }
}

fn lasts(failure: Failure) -> bool {
    matches!(failure, Failure::DiskStaysFull | Failure::DiskIsGone)
}

fn fail(failure: Failure, call: Call<'_>) -> Answer {
    const EIO: i32 = 5;
    let full = || io::Error::from(ErrorKind::StorageFull);
    match failure {
        Failure::DiskStaysFull if !call.operation.needs_space() => Answer::Pass,
        Failure::DiskFull | Failure::DiskStaysFull => Answer::Fail(full()),
        Failure::DiskFullHalfWay => Answer::FailHalfWay(full()),
        Failure::InputOutput | Failure::DiskIsGone => Answer::Fail(io::Error::from_raw_os_error(EIO)),
    }
}

impl<F: FileSystem> FileSystem for FailingFileSystem<F> {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.intercepted.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        self.intercepted.create(path)
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        self.intercepted.append(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        self.intercepted.open(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.intercepted.sync_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.intercepted.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.intercepted.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.intercepted.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.intercepted.list(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.intercepted.metadata(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.intercepted.free_space(path)
    }
}
