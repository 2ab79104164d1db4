//! A client that knows nothing of the server's code: HTTP/1.1 over a socket, whole answers and streams of events.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long anything may take on a slow, loaded machine before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// An answer whose head has come.
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    reader: BufReader<TcpStream>,
}

/// Sends a request and reads the head of its answer; the connection is for this request alone.
pub fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    send_to(address, &address.to_string(), method, path, headers, body)
}

/// The same, by another name of the server.
pub fn send_to(address: SocketAddr, name: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    connection.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    connection.write_all(body).unwrap();
    Reply::read(connection)
}

/// `GET path`.
pub fn get(address: SocketAddr, path: &str) -> Reply {
    send(address, "GET", path, &[], b"")
}

/// `POST path` with a JSON body.
pub fn post(address: SocketAddr, path: &str, body: &Value) -> Reply {
    send(address, "POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
}

impl Reply {
    fn read(connection: TcpStream) -> Self {
        let mut reader = BufReader::new(connection);
        let mut lines = std::iter::from_fn(|| Some(line(&mut reader)).filter(|line| !line.is_empty()));
        let first = lines.next().unwrap();
        let status = first.split(' ').nth(1).unwrap_or_else(|| panic!("{first:?}")).parse().unwrap();
        let header = |line: String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())).unwrap();
        let headers = lines.map(header).collect();
        Self { status, headers, reader }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The rest, which is not sent in chunks.
    pub fn text(mut self) -> String {
        let length = self.header("content-length").unwrap().parse().unwrap();
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub fn json(self) -> Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// Status, and the message of the error object.
    pub fn refusal(self) -> (u16, Value) {
        let status = self.status;
        let body = self.json();
        let error = &body["error"];
        assert!(error["message"].is_string() && error["type"].is_string(), "{body}");
        assert_eq!((body.as_object().unwrap().len(), error.as_object().unwrap().len()), (1, 4), "{body}");
        (status, error.clone())
    }

    /// The data of the next server-sent event; none when the stream is over.
    pub fn event(&mut self) -> Option<String> {
        assert_eq!((self.status, self.header("content-type")), (200, Some("text/event-stream")));
        let mut event = String::new();
        while !event.ends_with("\n\n") {
            let chunk = self.chunk()?;
            event += std::str::from_utf8(&chunk).expect("an event is not cut within a character");
            if event.starts_with(':') && event.ends_with("\n\n") {
                event.clear(); // a comment keeps the connection alive
            }
        }
        Some(event.strip_prefix("data: ").unwrap().trim_end().to_owned())
    }

    /// All events up to `[DONE]`, behind which nothing comes.
    pub fn events(mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Some(event) = self.event().filter(|event| event != "[DONE]") {
            events.push(serde_json::from_str(&event).unwrap());
        }
        assert_eq!(self.event(), None);
        events
    }

    /// A chunk of the transfer, each of which is an event here.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&line(&mut self.reader), 16).unwrap();
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes).unwrap();
        assert_eq!(line(&mut self.reader), "");
        (length > 0).then_some(bytes)
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}
