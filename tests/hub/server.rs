//! A Hub on loopback: a listener for the Hub itself and one for the content server that it leads to. Every reply can be changed by a
//! test before it is sent, and every request is remembered.

use sha1::Digest;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const REPOSITORY: &str = "owner/corpus";
const PAGE: usize = 2;

/// A request, as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
    pub is_content_server: bool,
}

impl Seen {
    pub fn is_content(&self) -> bool {
        self.method == "GET" && !self.target.starts_with("/api/") && (self.is_content_server || !self.target.contains("big"))
    }
}

/// What is sent back.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// After so many bytes of the body the connection ends.
    pub breaks_after: Option<usize>,
    /// After so many bytes of the body nothing comes for a while.
    pub stalls_after: Option<usize>,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), breaks_after: None, stalls_after: None }
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

type Change = Box<dyn Fn(&Seen, usize, Reply) -> Reply + Send + Sync>;

struct State {
    files: Vec<(String, Vec<u8>)>,
    content_address: String,
    address: String,
    change: Mutex<Option<Change>>,
    seen: Mutex<Vec<Seen>>,
}

/// A Hub that serves one repository, as dataset and as model. Files whose names have "big" in them are in Git LFS.
pub struct Server {
    state: Arc<State>,
}

impl Server {
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let (hub, content) = (listener(), listener());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            files: files.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect(),
            content_address: address(&content),
            address: address(&hub),
            change: Mutex::new(None),
            seen: Mutex::new(Vec::new()),
        });
        serve(hub, false, &state);
        serve(content, true, &state);
        Self { state }
    }

    pub fn address(&self) -> String {
        self.state.address.clone()
    }

    /// From now on every reply goes through `change`, with the number of earlier requests for the same target.
    pub fn change(&self, change: impl Fn(&Seen, usize, Reply) -> Reply + Send + Sync + 'static) {
        *self.state.change.lock().unwrap() = Some(Box::new(change));
        self.state.seen.lock().unwrap().clear();
    }

    pub fn heal(&self) {
        self.change(|_, _, reply| reply);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub fn num_content_requests(&self) -> usize {
        self.seen().iter().filter(|seen| seen.is_content()).count()
    }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn serve(listener: TcpListener, is_content_server: bool, state: &Arc<State>) {
    let state = Arc::clone(state);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let state = Arc::clone(&state);
            std::thread::spawn(move || answer(stream, is_content_server, &state));
        }
    });
}

fn answer(stream: TcpStream, is_content_server: bool, state: &State) {
    let Some(seen) = read_request(&stream, is_content_server) else { return };
    let num_earlier = {
        let mut all = state.seen.lock().unwrap();
        all.push(seen.clone());
        all.iter().filter(|other| other.target == seen.target && other.method == seen.method).count() - 1
    };
    let reply = if is_content_server { content(&seen, state) } else { hub(&seen, state) };
    let reply = match state.change.lock().unwrap().as_ref() {
        Some(change) => change(&seen, num_earlier, reply),
        None => reply,
    };
    let _ = send(stream, seen.method == "HEAD", reply); // A client that has heard enough hangs up.
}

fn read_request(stream: &TcpStream, is_content_server: bool) -> Option<Seen> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut seen = Seen { method, target, authorization: None, range: None, is_content_server };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => seen.authorization = Some(value.to_owned()),
            "range" => seen.range = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(seen)
}

fn send(mut stream: TcpStream, is_head: bool, reply: Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Said\r\nConnection: close\r\n", reply.status);
    let has_length = reply.headers.iter().any(|(name, _)| name == "Content-Length" || name == "No-Length");
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !has_length {
        head += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if is_head {
        return Ok(());
    }
    let end = reply.breaks_after.or(reply.stalls_after).unwrap_or(reply.body.len()).min(reply.body.len());
    stream.write_all(&reply.body[..end])?;
    stream.flush()?;
    if reply.stalls_after.is_some() {
        std::thread::sleep(Duration::from_secs(5));
    }
    stream.shutdown(Shutdown::Both)
}

/// The Hub's own endpoints.
fn hub(seen: &Seen, state: &State) -> Reply {
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let path = path.replace("%20", " ");
    let in_api = ["/api/datasets/", "/api/models/"].iter().find_map(|prefix| path.strip_prefix(prefix));
    let in_repository = |path: &str| path.strip_prefix(REPOSITORY).map(|rest| rest.trim_start_matches('/').to_owned());
    if let Some(rest) = in_api {
        return match in_repository(rest) {
            Some(rest) => api(&rest, query, &path, state),
            None => not_found("RepoNotFound"),
        };
    }
    let resolve = in_repository(path.trim_start_matches("/datasets").trim_start_matches('/'));
    let of_revision =
        |rest: &str| [COMMIT, "main"].iter().find_map(|revision| rest.strip_prefix(&format!("resolve/{revision}/")).map(str::to_owned));
    let name = resolve.and_then(|rest| of_revision(&rest));
    match name.and_then(|name| state.files.iter().find(|(other, _)| *other == name)) {
        Some((name, content)) => resolved(name, content, seen, state),
        None => not_found("EntryNotFound"),
    }
}

fn not_found(code: &str) -> Reply {
    Reply::new(404).header("X-Error-Code", code).header("X-Error-Message", "not here").body(r#"{"error":"not here"}"#)
}

fn api(rest: &str, query: &str, path: &str, state: &State) -> Reply {
    if let Some(revision) = rest.strip_prefix("revision/") {
        let is_known = ["main", "refs%2Fpr%2F1", COMMIT].contains(&revision);
        let info = format!(r#"{{"_id":"1","id":"{REPOSITORY}","sha":"{COMMIT}"}}"#);
        return if is_known { Reply::new(200).body(info) } else { not_found("RevisionNotFound") };
    }
    match rest.strip_prefix(&format!("tree/{COMMIT}")) {
        Some(dir) => tree(dir.trim_start_matches('/'), query, path, state),
        None => not_found("RevisionNotFound"),
    }
}

/// A page of a listing, and where the next one is.
fn tree(dir: &str, query: &str, path: &str, state: &State) -> Reply {
    let entries: Vec<serde_json::Value> =
        state.files.iter().filter(|(name, _)| dir.is_empty() || name.starts_with(&format!("{dir}/"))).map(entry).collect();
    if entries.is_empty() {
        return not_found("EntryNotFound");
    }
    let start: usize = query.split('&').find_map(|part| part.strip_prefix("cursor=")).map_or(0, |cursor| cursor.parse().unwrap());
    let start = start.min(entries.len());
    let end = (start + PAGE).min(entries.len());
    let reply = Reply::new(200).body(serde_json::to_vec(&entries[start..end]).unwrap());
    if end == entries.len() {
        return reply;
    }
    let next = format!("<{}{path}?recursive=true&cursor={end}>; rel=\"next\"", state.address);
    reply.header("Link", next)
}

fn entry((name, content): &(String, Vec<u8>)) -> serde_json::Value {
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n", sha256(content), content.len());
    if !name.contains("big") {
        return serde_json::json!({"type": "file", "oid": git_hash(content), "size": content.len(), "path": name});
    }
    let lfs = serde_json::json!({"oid": sha256(content), "size": content.len(), "pointerSize": pointer.len()});
    serde_json::json!({"type": "file", "oid": git_hash(pointer.as_bytes()), "size": content.len(), "lfs": lfs, "path": name})
}

fn resolved(name: &str, content: &[u8], seen: &Seen, state: &State) -> Reply {
    if !name.contains("big") {
        let reply = part(content, seen).header("ETag", format!("\"{}\"", git_hash(content)));
        return reply.header("X-Repo-Commit", COMMIT);
    }
    Reply::new(302)
        .header("X-Repo-Commit", COMMIT)
        .header("X-Linked-Size", content.len())
        .header("X-Linked-ETag", format!("\"{}\"", sha256(content)))
        .header("Location", format!("{}/blob/{}?signature=hidden", state.content_address, sha256(content)))
}

fn content(seen: &Seen, state: &State) -> Reply {
    let is_meant = |content: &Vec<u8>| seen.target.starts_with(&format!("/blob/{}?", sha256(content)));
    match state.files.iter().map(|(_, content)| content).find(|content| is_meant(content)) {
        Some(content) => part(content, seen).header("ETag", "\"not the hash\""),
        None => Reply::new(404),
    }
}

fn part(content: &[u8], seen: &Seen) -> Reply {
    let start = seen.range.as_ref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    match start {
        None => Reply::new(200).body(content),
        Some(start) if start >= content.len() => Reply::new(416),
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
            Reply::new(206).header("Content-Range", range).body(&content[start..])
        }
    }
}

pub fn sha256(content: &[u8]) -> String {
    sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn git_hash(content: &[u8]) -> String {
    let object = [format!("blob {}\0", content.len()).as_bytes(), content].concat();
    sha1::Sha1::digest(object).iter().map(|byte| format!("{byte:02x}")).collect()
}
