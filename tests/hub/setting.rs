//! A Hub, an empty cache and an environment whose waits take no time.

use super::server::{COMMIT, REPOSITORY, Server, sha256};
use bitnet::Result;
use bitnet::data::hub::{Environment, Kind, Patience, Proxies, Request, Token, fetch};
use bitnet::storage::{Entry, FileSystem, Metadata, RealFileSystem, StoredFile};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

pub const SECRET: &str = "hf_neverShown";
pub const README: &[u8] = b"# a corpus\n";
/// Enough for several reads, and no pattern that a shifted copy would match.
pub static BIG: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..300_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect());

pub fn corpus() -> Vec<(&'static str, &'static [u8])> {
    vec![("data/big.parquet", &BIG), ("data/a b.parquet", b"small"), ("README.md", README), ("empty.txt", b""), ("data/deep/c.txt", b"c")]
}

/// Files of the corpus at `main`.
pub fn request(files: &[&str]) -> Request {
    let files = files.iter().map(|pattern| (*pattern).to_owned()).collect();
    Request { kind: Kind::Dataset, repository: REPOSITORY.into(), revision: "main".into(), files }
}

pub struct Setting {
    pub server: Server,
    pub environment: Environment,
    root: tempfile::TempDir,
    waited: Arc<Mutex<Vec<Duration>>>,
}

impl Setting {
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let (server, root) = (Server::new(files), tempfile::tempdir().unwrap());
        let waited = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&waited);
        let wait = move |duration| {
            noted.lock().unwrap().push(duration);
            std::thread::yield_now();
        };
        let patience = Patience { first_wait: Duration::from_millis(10), num_retries: 4, wait: Arc::new(wait), ..Patience::default() };
        let environment = Environment {
            endpoint: server.address(),
            cache_dir: root.path().join("hub"),
            token: Some(Token::new(SECRET).unwrap()),
            is_offline: false,
            proxies: Proxies::default(),
            certificates: None,
            patience,
            file_system: Arc::new(RealFileSystem),
        };
        Self { server, environment, root, waited }
    }

    pub fn fetch(&self, request: &Request) -> Result<Vec<PathBuf>> {
        fetch(request, &self.environment, &mut |_| {}, &|| false)
    }

    /// The address of a server that is not there: nobody listens on its port.
    pub fn address_of_nobody() -> String {
        format!("http://{}", std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
    }

    /// The pieces of waits so far.
    pub fn waited(&self) -> Vec<Duration> {
        self.waited.lock().unwrap().clone()
    }

    pub fn cache_dir(&self) -> &Path {
        &self.environment.cache_dir
    }

    pub fn repository_dir(&self) -> PathBuf {
        self.cache_dir().join("datasets--owner--corpus")
    }

    pub fn snapshot(&self) -> PathBuf {
        self.repository_dir().join("snapshots").join(COMMIT)
    }

    /// What an earlier download of the big file could have left.
    pub fn leave_partial(&self, content: &[u8]) {
        let blobs = self.repository_dir().join("blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        std::fs::write(blobs.join(format!("{}.incomplete", sha256(&BIG))), content).unwrap();
    }

    fn in_blobs(&self, is_incomplete: bool) -> Vec<PathBuf> {
        let files = self.all_files().into_iter().filter(|path| path.parent().unwrap().ends_with("blobs"));
        files.filter(|path| path.extension().is_some_and(|ending| ending == "incomplete") == is_incomplete).collect()
    }

    pub fn leftovers(&self) -> Vec<PathBuf> {
        self.in_blobs(true)
    }

    pub fn blobs(&self) -> Vec<PathBuf> {
        self.in_blobs(false)
    }

    /// Every file below the temporary directory.
    pub fn all_files(&self) -> Vec<PathBuf> {
        let (mut dirs, mut files) = (vec![self.root.path().to_owned()], Vec::new());
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { dirs.push(path) } else { files.push(path) }
            }
        }
        files
    }
}

/// A disk with room for next to nothing.
pub struct SmallDisk(pub RealFileSystem);

impl FileSystem for SmallDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        self.0.create(path)
    }
    fn append(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        self.0.append(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        self.0.open(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.0.list(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.0.metadata(path)
    }
    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        Ok(1000)
    }
}
