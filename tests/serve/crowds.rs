//! Claims about many connections: those that only wait keep nobody out, and a client that reads nothing does not stay for ever.

use super::client::{PATIENCE, get};
use super::setting::{Running, options, random_model};
use bitnet::serve::{ConnectionLimits, ServeOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(3600);
/// As many connections as the smallest server of these tests has room for.
const FEW: usize = 6;

fn server(write_patience: Duration) -> Running {
    let connections = ConnectionLimits { most: FEW, most_of_an_address: FEW, head_patience: FOR_EVER, write_patience };
    Running::new(&random_model(64), &ServeOptions { parallel: 1, queue: 1, connections, ..options() })
}

fn connect(server: &Running) -> TcpStream {
    let connection = TcpStream::connect(server.address).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection
}

/// Reads until the server closes the connection.
fn read_to_the_end(mut connection: TcpStream) -> usize {
    let (mut length, mut bytes) = (0, [0; 1 << 16]);
    loop {
        match connection.read(&mut bytes) {
            Ok(0) => return length,
            Ok(count) => length += count,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted), "{error}");
                return length;
            }
        }
    }
}

/// Asks for the page again and again, and reads none, until the system takes no more of it or the server has closed the connection.
fn ask_without_reading(server: &Running) -> TcpStream {
    let mut connection = connect(server);
    connection.set_nonblocking(true).unwrap();
    let requests = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).repeat(64);
    let mut at = 0;
    while let Ok(count) = connection.write(&requests.as_bytes()[at..]) {
        at = (at + count) % requests.len();
    }
    connection
}

const BLOCKED: &str = "bitnet_connections{phase=\"blocked\"}";
const CLOSED: &str = "bitnet_connections_closed_total";

#[test]
fn a_crowd_that_asks_for_nothing_keeps_nobody_out() {
    let server = server(FOR_EVER);
    let mut crowd: Vec<_> = (0..FEW).map(|_| connect(&server)).collect();
    assert_eq!(get(server.address, "/health").status, 200);
    assert_eq!(read_to_the_end(crowd.remove(0)), 0, "the oldest is closed");
    crowd.extend((0..200).map(|_| connect(&server)));
    assert_eq!(get(server.address, "/health").status, 200);
    assert!(server.metric(CLOSED) >= 200.0);
}

#[test]
fn slow_senders_keep_nobody_out() {
    let server = server(FOR_EVER);
    let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let crowd: Vec<_> = std::iter::repeat_with(|| connect(&server)).take(2 * FEW).collect();
    for mut connection in &crowd[FEW..] {
        connection.write_all(head.as_bytes()).unwrap();
    }
    assert_eq!(get(server.address, "/health").status, 200);
    assert!(server.metric(CLOSED) >= (FEW + 1) as f64);
}

#[test]
fn who_reads_no_answers_keeps_nobody_out() {
    let server = server(FOR_EVER);
    let _crowd: Vec<_> = (0..2 * FEW).map(|_| ask_without_reading(&server)).collect();
    assert_eq!(get(server.address, "/health").status, 200);
    assert!(server.metric(CLOSED) >= (FEW + 1) as f64);
    let all_but_this_one = (FEW - 1) as f64;
    server.wait_until(BLOCKED, |count| count == all_but_this_one);
    let _idle = connect(&server);
    for _ in 0..3 {
        assert_eq!(get(server.address, "/health").status, 200);
    }
    // One that was closed would not come back.
    server.wait_until(BLOCKED, |count| count == all_but_this_one);
}

#[test]
fn a_client_that_takes_nothing_for_too_long_is_left() {
    let server = server(Duration::from_millis(1));
    let mut connection = connect(&server);
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    // Far more than the system keeps for a client: the server gives up, which ends the sending.
    let sent = (0..1_000_000).take_while(|_| connection.write_all(request.as_bytes()).is_ok()).count();
    assert!(sent < 1_000_000);
    server.wait_until(BLOCKED, |count| count == 0.0);
    assert_eq!(server.metric(CLOSED), 0.0, "nobody else needed the room");
    assert_eq!(get(server.address, "/health").status, 200);
}
