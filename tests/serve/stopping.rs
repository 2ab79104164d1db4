//! Claims about the end: what is computed is finished within the time of grace, the rest is refused, and the program as a process.

use super::client::{PATIENCE, get, post};
use super::setting::{Running, options, random_model};
use assert_cmd::Command;
use bitnet::run::StopReason;
use bitnet::serve::ServeOptions;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const COMPLETIONS: &str = "/v1/completions";

#[test]
fn a_stop_finishes_what_runs_and_refuses_what_is_new() {
    let server = Running::new(&random_model(1 << 13), &ServeOptions { parallel: 1, ..options() });
    let mut stream = post(server.address, COMPLETIONS, &json!({"prompt": "to", "max_tokens": 4000, "temperature": 0, "stream": true}));
    assert!(stream.event().is_some());
    server.stop.request(StopReason::Terminate);
    let start = Instant::now();
    while get(server.address, "/health").status == 200 {
        assert!(start.elapsed() < PATIENCE);
    }
    let (status, error) = post(server.address, COMPLETIONS, &json!({"prompt": "to"})).refusal();
    assert_eq!((status, error["code"].as_str()), (503, Some("server_stopping")));
    let events = stream.events();
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "length", "it was finished");
    let address = server.address;
    server.join();
    assert!(TcpStream::connect(address).is_err(), "the port is closed");
}

#[test]
fn what_takes_longer_than_the_time_of_grace_ends_with_an_error() {
    let server = Running::new(&random_model(1 << 16), &ServeOptions { parallel: 1, grace: Duration::ZERO, ..options() });
    let endless = json!({"prompt": "to", "max_tokens": 60_000, "temperature": 0, "stream": true});
    let (mut stream, waiting) = (post(server.address, COMPLETIONS, &endless), post(server.address, COMPLETIONS, &endless));
    assert!(stream.event().is_some());
    server.stop.request(StopReason::Interrupt);
    for mut stream in [stream, waiting] {
        let mut last = String::new();
        while let Some(event) = stream.event() {
            last = event;
        }
        let last: Value = serde_json::from_str(&last).unwrap();
        assert_eq!(last["error"]["code"], "server_stopping");
    }
    server.join();
}

/// The program, and where it listens.
struct Process(Child, SocketAddr);

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_serve"));
        command.args(["--port", "0", "--threads", "1"]).args(arguments).env_remove("BITNET_API_KEY");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self(child, line.trim().strip_prefix("http://").unwrap_or_else(|| panic!("{line:?}")).parse().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[cfg(unix)]
fn the_program_stops_in_order_on_a_signal() {
    let dir = random_model(256);
    let name = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
    let path = dir.path().to_str().unwrap();
    for (signal, model) in [("TERM", vec!["--model", path]), ("INT", vec![path])] {
        let mut server = Process::start(&[&model[..], &["--template", "plain"]].concat());
        assert_eq!(get(server.1, "/v1/models").json()["data"][0]["id"], name);
        let body = json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3});
        assert_eq!(post(server.1, "/v1/chat/completions", &body).status, 200);
        let kill = std::process::Command::new("kill").args(["-s", signal, &server.0.id().to_string()]).status().unwrap();
        assert!(kill.success());
        assert_eq!(server.0.wait().unwrap().code(), Some(0), "{signal}");
        let mut said = String::new();
        server.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(said.ends_with("stopped\n") && !said.contains("warning"), "{said}");
    }
}

#[test]
fn what_cannot_be_served_is_one_clear_error() {
    let dir = random_model(64);
    let refused = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serve"));
        command.arg("--model").arg(dir.path()).args(["--port", "0"]).args(arguments).env_remove("BITNET_API_KEY").timeout(PATIENCE);
        String::from_utf8(command.assert().failure().code(2).get_output().stderr.clone()).unwrap()
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_serve"));
    let assert = command.arg("--model").arg(dir.path()).args(["--port", &port]).timeout(PATIENCE).assert().code(2);
    assert!(String::from_utf8_lossy(&assert.get_output().stderr).contains("choose another --port"));
    assert!(refused(&["--parallel", "0"]).contains("--parallel 0"));
    assert!(refused(&["--parallel", "9", "--batch-tokens", "8"]).contains("fewer than the 9 texts"));
    assert!(refused(&["--threads", "0"]).contains("--threads 0"));
    assert!(refused(&["--api-key", ""]).contains("the API key is empty"));
    assert!(refused(&["--template", "unknown"]).contains("chatml"));
    assert!(refused(&["--host", "example"]).contains("--host"));
    assert!(refused(&["--host-name", "http://models.example"]).contains("give the name alone"));
    assert!(refused(&["other"]).contains("cannot be used with"), "a model is named once");
}
