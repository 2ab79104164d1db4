//! Claims about what is refused: each with the status and the error object of the OpenAI API, and the name of the field.

use super::client::{Reply, get, post, send, send_to};
use super::setting::{Running, circle_model, damaged_model, options, random_model};
use bitnet::serve::ServeOptions;
use serde_json::{Value, json};

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";
const JSON: (&str, &str) = ("Content-Type", "application/json");

/// `(status, param, a part of the message)` of each body, which is an otherwise fine one with these fields.
fn check(server: &Running, path: &str, fine: &Value, cases: Vec<(Value, u16, &str, &str)>) {
    for (fields, status, param, part) in cases {
        let mut body = fine.clone();
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let (found, error) = post(server.address, path, &body).refusal();
        assert_eq!((found, error["param"].as_str()), (status, Some(param)), "{fields}: {error}");
        assert!(error["message"].as_str().unwrap().contains(part), "{fields}: {error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
}

#[test]
fn a_wrong_field_is_named() {
    let limits = ServeOptions { max_tokens: Some(50), parallel: 2, queue: 3, context: Some(40), ..options() };
    let server = Running::new(&random_model(64), &limits);
    let fine = json!({"prompt": "to be", "max_tokens": 2});
    assert_eq!(post(server.address, COMPLETIONS, &fine).status, 200);
    let cases = vec![
        (json!({"model": "other"}), 404, "model", "there is no \"other\"; this server has \"tiny\""),
        (json!({"model": 3}), 400, "model", "expected a string, found 3"),
        (json!({"prompt": null}), 400, "prompt", "missing"),
        (json!({"prompt": {}}), 400, "prompt", "expected a string, a list"),
        (json!({"prompt": []}), 400, "prompt", "empty"),
        (json!({"prompt": ""}), 400, "prompt", "empty"),
        (json!({"prompt": ["a", 1]}), 400, "prompt", "found 1"),
        (json!({"prompt": [-1]}), 400, "prompt", "expected token ids, found -1"),
        (json!({"prompt": [320]}), 400, "prompt", "320 is not in the vocabulary of 320"),
        (json!({"prompt": [4294967296_u64]}), 400, "prompt", "token ids"),
        (json!({"prompt": vec![9; 41]}), 400, "prompt", "41 tokens are more than the context of 40"),
        (json!({"prompt": vec!["a"; 6]}), 400, "prompt", "6 texts at once are more than the 5"),
        (json!({"n": 0}), 400, "n", "from 1 to 16"),
        (json!({"n": 17}), 400, "n", "from 1 to 16"),
        (json!({"max_tokens": 51}), 400, "max_tokens", "from 0 to 50"),
        (json!({"max_tokens": -1}), 400, "max_tokens", "found -1"),
        (json!({"max_tokens": "5"}), 400, "max_tokens", "found a string"),
        (json!({"temperature": -0.5}), 400, "temperature", "temperature -0.5"),
        (json!({"temperature": "hot"}), 400, "temperature", "expected a number"),
        (json!({"top_p": 0}), 400, "top_p", "above 0"),
        (json!({"top_k": -1}), 400, "top_k", "at least 0"),
        (json!({"min_p": 2}), 400, "min_p", "0 to 1"),
        (json!({"repetition_penalty": 0}), 400, "repetition_penalty", "above 0"),
        (json!({"seed": 0.5}), 400, "seed", "whole number"),
        (json!({"stream": 1}), 400, "stream", "true or false"),
        (json!({"stream_options": {"include_usage": true}}), 400, "stream_options", "stream: true"),
        (json!({"stream": true, "stream_options": []}), 400, "stream_options", "an object"),
        (json!({"stream": true, "stream_options": {"include_usage": 1}}), 400, "stream_options.include_usage", "true or false"),
        (json!({"stop": 1}), 400, "stop", "a string or a list"),
        (json!({"stop": [""]}), 400, "stop", "0 bytes"),
        (json!({"stop": vec!["x"; 17]}), 400, "stop", "17 strings"),
        (json!({"logprobs": 21}), 400, "logprobs", "from 0 to 20"),
        (json!({"logprobs": true}), 400, "logprobs", "whole number"),
        (json!({"echo": true, "logprobs": 1}), 400, "echo", "not together"),
        (json!({"suffix": "end"}), 400, "suffix", "not supported"),
        (json!({"best_of": 3}), 400, "best_of", "not supported"),
        (json!({"logit_bias": {"5": 1}}), 400, "logit_bias", "not supported"),
        (json!({"presence_penalty": 0.1}), 400, "presence_penalty", "not supported"),
        (json!({"temprature": 1}), 400, "temprature", "did you mean temperature?"),
    ];
    check(&server, COMPLETIONS, &fine, cases);
    let neutral = json!({"prompt": "to", "suffix": null, "best_of": 1, "logit_bias": {}, "presence_penalty": 0.0, "user": "me", "max_tokens": 90 - 50});
    assert_eq!(post(server.address, COMPLETIONS, &neutral).status, 200, "what changes nothing is fine");
}

#[test]
fn a_wrong_field_of_a_chat_is_named() {
    let server = Running::new(&random_model(64), &options());
    let fine = json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2});
    assert_eq!(post(server.address, CHAT, &fine).status, 200);
    let part = |part: Value| json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, part]}]});
    let cases = vec![
        (json!({"messages": null}), 400, "messages", "missing"),
        (json!({"messages": []}), 400, "messages", "there must be 1"),
        (json!({"messages": "hi"}), 400, "messages", "a list"),
        (json!({"messages": [3]}), 400, "messages[0]", "an object"),
        (json!({"messages": [{"content": "x"}]}), 400, "messages[0].role", "missing"),
        (json!({"messages": [{"role": "user"}]}), 400, "messages[0].content", "missing"),
        (json!({"messages": [{"role": "user", "content": 1}]}), 400, "messages[0].content", "list of parts"),
        (json!({"messages": [{"role": "wizard", "content": "x"}]}), 400, "messages", "wizard"),
        (json!({"messages": [{"role": "user", "content": "x", "mood": 1}]}), 400, "messages[0].mood", "no such field"),
        (part(json!({"type": "image_url", "image_url": {}})), 400, "messages[0].content[1].type", "image_url"),
        (json!({"messages": [{"role": "user", "content": "x".repeat(500)}]}), 400, "messages", "more than the context of 64"),
        (json!({"max_completion_tokens": 0}), 400, "max_completion_tokens", "at least 1"),
        (json!({"top_logprobs": 2}), 400, "top_logprobs", "logprobs: true"),
        (json!({"tools": [{"type": "function"}]}), 400, "tools", "not supported"),
        (json!({"response_format": {"type": "json_schema"}}), 400, "response_format", "not supported"),
        (json!({"reasoning_effort": "high"}), 400, "reasoning_effort", "not supported"),
        (json!({"prompt": "x"}), 400, "prompt", "no such field"),
    ];
    check(&server, CHAT, &fine, cases);
    let neutral = json!({"messages": fine["messages"], "tools": [], "response_format": {"type": "text"}, "max_tokens": 1, "store": true});
    assert_eq!(post(server.address, CHAT, &neutral).status, 200);
    let without = Running::new(&circle_model(), &options());
    let (status, error) = post(without.address, CHAT, &fine).refusal();
    assert_eq!((status, error["code"].as_str()), (400, Some("no_chat_template")));
    assert!(error["message"].as_str().unwrap().contains("--template"), "{error}");
}

#[test]
fn what_is_no_request_is_refused() {
    let server = Running::new(&random_model(64), &ServeOptions { max_body_bytes: 1000, ..options() });
    let refused =
        |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| send(server.address, method, path, headers, body).refusal().0;
    assert_eq!(refused("POST", COMPLETIONS, &[JSON], b"{\"prompt\": "), 400);
    assert_eq!(refused("POST", COMPLETIONS, &[JSON], b"[]"), 400);
    assert_eq!(refused("POST", COMPLETIONS, &[JSON], b"{\"prompt\": \"\xff\"}"), 400);
    assert_eq!(refused("POST", COMPLETIONS, &[JSON], "[".repeat(900).as_bytes()), 400);
    assert_eq!(refused("POST", COMPLETIONS, &[], b"{}"), 415);
    assert_eq!(refused("POST", COMPLETIONS, &[("Content-Type", "text/plain")], b"{}"), 415);
    assert_eq!(refused("POST", COMPLETIONS, &[JSON], &[b' '; 1001]), 413);
    assert_eq!(refused("POST", COMPLETIONS, &[JSON], &vec![b' '; 14_000]), 413, "a client that sends all first gets its answer");
    assert_eq!(refused("GET", COMPLETIONS, &[], b""), 405);
    assert_eq!(refused("POST", "/health", &[], b""), 405);
    assert_eq!(refused("GET", "/v1/nothing", &[], b""), 404);
    assert_eq!(refused("GET", "/v1/models/other", &[], b""), 404);
    assert_eq!(get(server.address, "/health").json(), json!({"status": "ok"}));
}

#[test]
fn pages_of_other_sites_are_kept_out() {
    let server = Running::new(&random_model(64), &ServeOptions { host_names: vec!["models.example".into()], ..options() });
    let body = json!({"prompt": "to be", "max_tokens": 1}).to_string();
    let preflight =
        send(server.address, "OPTIONS", COMPLETIONS, &[("Origin", "http://elsewhere"), ("Access-Control-Request-Method", "POST")], b"");
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (403, None));
    let (status, error) = send(server.address, "POST", COMPLETIONS, &[JSON, ("Origin", "https://elsewhere")], body.as_bytes()).refusal();
    assert_eq!((status, error["code"].as_str()), (403, Some("origin_not_allowed")));
    let own_page = format!("http://{}", server.address);
    assert_eq!(send(server.address, "POST", COMPLETIONS, &[JSON, ("Origin", &own_page)], body.as_bytes()).status, 200);
    for (name, expected) in [("evil.example:8080", 403), ("localhost:8080", 200), ("models.example", 200), ("[::1]:8080", 200)] {
        for path in ["/", "/health", "/v1/models", "/metrics"] {
            assert_eq!(get_as(&server, name, path).status, expected, "{path} of {name}");
        }
    }
    let (_, error) = get_as(&server, "evil.example", "/v1/models").refusal();
    assert_eq!(error["code"], "host_not_allowed");
    assert!(error["message"].as_str().unwrap().contains("--host-name"), "{error}");
}

fn get_as(server: &Running, name: &str, path: &str) -> Reply {
    send_to(server.address, name, "GET", path, &[], b"")
}

#[test]
fn a_text_that_cannot_fit_is_refused_before_it_is_encoded() {
    let server = Running::new(&random_model(64), &options());
    let refused = |path: &str, body: Value| {
        let (status, error) = post(server.address, path, &body).refusal();
        assert_eq!((status, error["code"].as_str()), (400, Some("context_length_exceeded")), "{error}");
        error["message"].as_str().unwrap().to_owned()
    };
    let (fits_not, may_fit) = ("x".repeat(100_000), "x".repeat(65));
    let not_encoded = "100000 bytes of text are more than the context of 64 tokens can hold";
    assert!(refused(COMPLETIONS, json!({"prompt": [fits_not, "x"]})).contains(not_encoded));
    // The role would be refused by whoever writes the prompt.
    assert!(refused(CHAT, json!({"messages": [{"role": "wizard", "content": fits_not}]})).contains(not_encoded));
    assert!(refused(COMPLETIONS, json!({"prompt": may_fit})).contains("65 tokens are more than the context of 64"));
}

#[test]
fn the_other_routes_say_what_is_served() {
    let server = Running::new(&random_model(64), &ServeOptions { context: Some(1000), ..options() });
    let list = get(server.address, "/v1/models").json();
    assert_eq!((&list["object"], list["data"].as_array().unwrap().len()), (&json!("list"), 1));
    assert_eq!((&list["data"][0]["id"], &list["data"][0]["context_length"]), (&json!("tiny"), &json!(64)));
    assert_eq!(get(server.address, "/v1/models/tiny").json(), list["data"][0]);
    let page = get(server.address, "/");
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let page = page.text();
    assert!(page.starts_with("<!doctype html>"));
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="), "nothing from elsewhere");
}

#[test]
fn with_a_key_only_who_has_it_gets_an_answer() {
    let server = Running::new(&random_model(64), &ServeOptions { api_key: Some("säcret".into()), ..options() });
    let body = json!({"prompt": "to be", "max_tokens": 1}).to_string();
    let status =
        |key: &str, path: &str, method: &str| send(server.address, method, path, &[JSON, ("Authorization", key)], body.as_bytes()).status;
    for wrong in ["Bearer sacret", "Bearer säcre", "Bearer säcrets", "Basic säcret", "Bearer", "", "säcret", "Bearer "] {
        assert_eq!(status(wrong, COMPLETIONS, "POST"), 401, "{wrong}");
    }
    assert_eq!((status("Bearer säcret", COMPLETIONS, "POST"), status("bearer säcret", COMPLETIONS, "POST")), (200, 200));
    for path in ["/v1/models", "/metrics", "/nothing"] {
        let reply = get(server.address, path);
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{path}");
        let (status, error) = reply.refusal();
        assert_eq!((status, error["code"].as_str()), (401, Some("invalid_api_key")), "{path}");
    }
    assert_eq!((get(server.address, "/health").status, get(server.address, "/").status), (200, 200));
}

#[test]
fn a_damaged_model_leaves_nobody_waiting() {
    let server = Running::new(&damaged_model(), &options());
    let mut body = json!({"prompt": "to be", "max_tokens": 5});
    let (status, error) = post(server.address, COMPLETIONS, &body).refusal();
    assert_eq!((status, error["type"].as_str()), (500, Some("server_error")));
    assert!(error["message"].as_str().unwrap().contains("logits are not finite"), "{error}");
    body["stream"] = json!(true);
    let mut stream = post(server.address, COMPLETIONS, &body);
    let event: Value = serde_json::from_str(&stream.event().unwrap()).unwrap();
    assert_eq!((&event["error"]["code"], stream.event()), (&json!("model_failed"), None), "no [DONE] behind an error");
    assert_eq!((get(server.address, "/health").status, server.metric("bitnet_active_sequences")), (200, 0.0));
}
