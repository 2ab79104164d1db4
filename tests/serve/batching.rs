//! Claims about many clients at once: none changes another's answer, nobody is kept out by those who have left, and memory is bounded.

use super::client::{get, post};
use super::setting::{GREEDY, Running, engine, options, random_model, solo};
use bitnet::inference::GenerationOptions;
use bitnet::serve::ServeOptions;
use serde_json::json;
use std::collections::BTreeMap;
use std::thread::scope;

const COMPLETIONS: &str = "/v1/completions";
/// Tokens enough to be still computed when a test looks.
const LONG: usize = 60_000;

#[test]
fn streams_at_the_same_time_are_each_what_they_are_alone() {
    let dir = random_model(512);
    let limits = ServeOptions { parallel: 7, batch_tokens: 16, ..options() };
    let (server, engine) = (Running::new(&dir, &limits), engine(dir.path()));
    let prompt = |index: usize| "to be or not to be, the cat sat. ".repeat(1 + index % 5) + &index.to_string();
    let run = |index: usize| {
        let max_new_tokens = 20 + 7 * (index % 9);
        let mut stream = post(
            server.address,
            COMPLETIONS,
            &json!({"prompt": prompt(index), "max_tokens": max_new_tokens, "temperature": 0, "stream": true}),
        );
        let (mut said, mut num_events) = (String::new(), 0);
        while let Some(event) = stream.event().filter(|event| event != "[DONE]") {
            let event: serde_json::Value = serde_json::from_str(&event).unwrap();
            said += event["choices"][0]["text"].as_str().unwrap();
            num_events += 1;
        }
        let ids = engine.encode_prompt(&prompt(index)).unwrap();
        let (expected, _) = solo(&engine, &ids, GenerationOptions { max_new_tokens, ..GREEDY });
        assert_eq!(said, expected, "stream {index}");
        assert!(num_events > 5, "a stream comes in pieces");
    };
    scope(|threads| {
        let clients: Vec<_> = (0..24).map(|client| threads.spawn(move || (0..3).for_each(|round| run(client + 24 * round)))).collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    let of_one = engine.model.new_cache(512).unwrap().num_bytes() as f64;
    assert!((1.0..=7.0).contains(&(server.metric("bitnet_cache_bytes") / of_one)), "no more caches than texts at once");
    assert_eq!(server.metric("bitnet_requests_total{route=\"/v1/completions\",status=\"200\"}"), 72.0);
    assert_eq!(server.metric("bitnet_queue_length") + server.metric("bitnet_active_sequences"), 0.0);
}

#[test]
fn a_text_whose_client_leaves_is_given_up() {
    let limits = ServeOptions { parallel: 1, queue: 3, ..options() };
    let server = Running::new(&random_model(1 << 16), &limits);
    for is_stream in [true, false] {
        let endless = json!({"prompt": "to be", "max_tokens": LONG, "temperature": 0, "stream": is_stream});
        let cancelled = server.metric("bitnet_cancelled_total");
        if is_stream {
            let mut stream = post(server.address, COMPLETIONS, &endless);
            assert!(stream.event().is_some());
        } else {
            leave_without_an_answer(&server, &endless.to_string());
        }
        server.wait_until("bitnet_cancelled_total", |count| count == cancelled + 1.0);
        server.wait_until("bitnet_active_sequences", |count| count == 0.0);
    }
    assert!(server.metric("bitnet_generated_tokens_total") < 2.0 * LONG as f64);
    server.wait_until("bitnet_requests_total{route=\"/v1/completions\",status=\"499\"}", |count| count == 1.0);
    let body = json!({"prompt": "to be", "max_tokens": 3});
    assert_eq!(post(server.address, COMPLETIONS, &body).status, 200, "the place is free");
}

/// Sends a request, waits until it is computed, and closes the connection.
fn leave_without_an_answer(server: &Running, body: &str) {
    use std::io::Write;
    let mut connection = std::net::TcpStream::connect(server.address).unwrap();
    let (length, address) = (body.len(), server.address);
    let head =
        format!("POST {COMPLETIONS} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    connection.write_all(format!("{head}{body}").as_bytes()).unwrap();
    server.wait_until("bitnet_active_sequences", |count| count == 1.0);
}

#[test]
fn who_finds_all_places_taken_is_told_to_come_back() {
    let limits = ServeOptions { parallel: 1, queue: 1, ..options() };
    let server = Running::new(&random_model(1 << 16), &limits);
    let endless = json!({"prompt": "to be", "max_tokens": LONG, "temperature": 0, "stream": true});
    let mut first = post(server.address, COMPLETIONS, &endless);
    assert!(first.event().is_some());
    let second = post(server.address, COMPLETIONS, &endless);
    assert_eq!((second.status, server.metric("bitnet_queue_length")), (200, 1.0));
    let third = post(server.address, COMPLETIONS, &endless);
    assert_eq!(third.header("retry-after"), Some("1"));
    let (status, error) = third.refusal();
    assert_eq!((status, error["type"].as_str(), error["code"].as_str()), (429, Some("rate_limit_error"), Some("queue_full")));
    // The place comes before the work: no template is asked about this role, and no text becomes tokens.
    let mut hopeless = json!({"messages": [{"role": "wizard", "content": "x"}], "stream": true});
    assert_eq!(post(server.address, "/v1/chat/completions", &hopeless).status, 429);
    hopeless["messages"][0]["content"] = json!(" ".repeat(100_000));
    assert_eq!(post(server.address, "/v1/chat/completions", &hopeless).status, 429);
    drop(second);
    server.wait_until("bitnet_queue_length", |count| count == 0.0);
    let mut second = post(server.address, COMPLETIONS, &endless);
    drop(first);
    assert!(second.event().is_some(), "who waits gets his turn");
}

#[test]
fn long_prompts_do_not_hold_up_a_stream() {
    let limits = ServeOptions { parallel: 2, batch_tokens: 8, ..options() };
    let server = Running::new(&random_model(1 << 13), &limits);
    let mut stream = post(server.address, COMPLETIONS, &json!({"prompt": "to be", "max_tokens": 8000, "temperature": 0, "stream": true}));
    assert!(stream.event().is_some());
    let read = server.metric("bitnet_prompt_tokens_total");
    let before = server.metric("bitnet_generated_tokens_total");
    let long = vec![100; 2000];
    assert_eq!(post(server.address, COMPLETIONS, &json!({"prompt": long, "max_tokens": 1, "temperature": 0})).status, 200);
    assert_eq!(server.metric("bitnet_prompt_tokens_total") - read, 2000.0);
    // At most a quarter of 8 tokens a pass: the other text has gone on at each of a thousand passes.
    assert!(server.metric("bitnet_generated_tokens_total") - before >= 1000.0);
}

/// The samples of a text in Prometheus' format, read strictly: every metric has its help and type, once, before its samples.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut current, mut seen) = (BTreeMap::new(), String::new(), Vec::new());
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# HELP ") {
            current = head.split_once(' ').unwrap().0.to_owned();
            assert!(!seen.contains(&current), "{current} is there twice");
            seen.push(current.clone());
        } else if let Some(head) = line.strip_prefix("# TYPE ") {
            let (name, kind) = head.split_once(' ').unwrap();
            assert!(name == current && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let bare = name.split('{').next().unwrap();
            let suffixes = ["", "_bucket", "_sum", "_count"];
            assert!(suffixes.iter().any(|suffix| bare == format!("{current}{suffix}")), "{line} below {current}");
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{line}");
        }
    }
    assert!(text.ends_with('\n'));
    samples
}

#[test]
fn metrics_count_what_happened() {
    let server = Running::new(&random_model(64), &ServeOptions { parallel: 2, queue: 5, ..options() });
    let body = json!({"prompt": vec![100; 10], "max_tokens": 6, "temperature": 0, "n": 2});
    assert_eq!(post(server.address, COMPLETIONS, &body).status, 200);
    assert_eq!(post(server.address, COMPLETIONS, &json!({})).status, 400);
    assert_eq!(get(server.address, "/nothing/here").status, 404);
    let reply = get(server.address, "/metrics");
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let samples = samples(&reply.text());
    let expected = [
        ("bitnet_requests_total{route=\"/v1/completions\",status=\"200\"}", 1.0),
        ("bitnet_requests_total{route=\"/v1/completions\",status=\"400\"}", 1.0),
        ("bitnet_requests_total{route=\"other\",status=\"404\"}", 1.0),
        ("bitnet_prompt_tokens_total", 20.0),
        ("bitnet_generated_tokens_total", 12.0),
        ("bitnet_cancelled_total", 0.0),
        ("bitnet_active_sequences", 0.0),
        ("bitnet_queue_length", 0.0),
        ("bitnet_places", 7.0),
        ("bitnet_time_to_first_token_seconds_count", 2.0),
        ("bitnet_time_to_first_token_seconds_bucket{le=\"+Inf\"}", 2.0),
        ("bitnet_time_per_token_seconds_count", 10.0),
    ];
    expected.iter().for_each(|(name, value)| assert_eq!(samples.get(*name), Some(value), "{name} of {samples:#?}"));
    // A cache of 64 tokens: 2 layers, keys and values, 2 heads of 16 numbers of 4 bytes. The second text takes over that of the first if it
    // comes when that is done.
    let cache = f64::from(64 * 2 * 2 * 2 * 16 * 4);
    let bytes = samples["bitnet_cache_bytes"];
    assert!(bytes == cache || bytes == 2.0 * cache, "{bytes}");
}
