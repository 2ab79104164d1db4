//! Claims about answers: the server says what the engine says by itself, whole or streamed.

use super::client::post;
use super::setting::{CIRCLE, GREEDY, Running, circle_model, engine, options, random_model, solo};
use bitnet::inference::{GenerationOptions, SamplingOptions};
use bitnet::tokenizer::Message;
use serde_json::{Value, json};

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

/// All of a stream: text and how it ended, by answer; and the last chunk.
fn joined(events: &[Value], text_of: impl Fn(&Value) -> &Value) -> (Vec<(String, String)>, Value) {
    let mut answers: Vec<(String, String)> = Vec::new();
    for choice in events.iter().flat_map(|event| event["choices"].as_array().unwrap()) {
        let index = choice["index"].as_u64().unwrap() as usize;
        answers.resize(answers.len().max(index + 1), Default::default());
        assert_eq!(answers[index].1, "", "nothing follows the end");
        answers[index].0 += text_of(choice).as_str().unwrap_or_default();
        answers[index].1 += choice["finish_reason"].as_str().unwrap_or_default();
    }
    (answers, events.last().unwrap().clone())
}

#[test]
fn a_completion_is_what_the_engine_says_whole_or_streamed() {
    let dir = random_model(256);
    let (server, engine) = (Running::new(&dir, &options()), engine(dir.path()));
    for (prompt, count) in [("to be or not", 40), ("the cat sat on the mat; é", 7), ("x", 1), ("to", 0)] {
        let ids = engine.encode_prompt(prompt).unwrap();
        let (text, num_tokens) = solo(&engine, &ids, GenerationOptions { max_new_tokens: count, ..GREEDY });
        let mut body = json!({"model": "tiny", "prompt": prompt, "max_tokens": count, "temperature": 0});
        let whole = post(server.address, COMPLETIONS, &body).json();
        assert_eq!((whole["object"].as_str(), whole["model"].as_str()), (Some("text_completion"), Some("tiny")));
        assert_eq!(whole["choices"], json!([{"index": 0, "text": text, "logprobs": null, "finish_reason": "length"}]));
        let usage = json!({"prompt_tokens": ids.len(), "completion_tokens": num_tokens, "total_tokens": ids.len() + num_tokens});
        assert_eq!(whole["usage"], usage);
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
        let events = post(server.address, COMPLETIONS, &body).events();
        let (answers, last) = joined(&events, |choice| &choice["text"]);
        assert_eq!(answers, [(text, "length".to_owned())]);
        assert_eq!((&last["usage"], &last["choices"]), (&usage, &json!([])));
        assert!(events[..events.len() - 1].iter().all(|event| event["usage"].is_null() && event["id"] == last["id"]));
        body["stream_options"] = Value::Null;
        let events = post(server.address, COMPLETIONS, &body).events();
        assert!(events.iter().all(|event| event.get("usage").is_none()));
    }
}

#[test]
fn a_chat_is_the_continuation_of_what_the_template_writes() {
    let dir = random_model(256);
    let (server, engine) = (Running::new(&dir, &options()), engine(dir.path()));
    let messages = [Message::new("system", "be short"), Message::new("user", "to be?\nor not")];
    let ids = engine.encode_chat(&messages).unwrap();
    let (text, _) = solo(&engine, &ids, GenerationOptions { max_new_tokens: 12, ..GREEDY });
    let parts = json!([{"type": "text", "text": "to be?"}, {"type": "text", "text": "\nor not"}]);
    let messages = json!([{"role": "system", "content": "be short"}, {"role": "user", "content": parts, "name": "me"}]);
    for limit in ["max_tokens", "max_completion_tokens"] {
        let mut body = json!({"model": "tiny", "messages": messages, "temperature": 0, limit: 12});
        let whole = post(server.address, CHAT, &body).json();
        assert_eq!(whole["object"], "chat.completion");
        let message = json!({"role": "assistant", "content": text, "refusal": null});
        assert_eq!(whole["choices"], json!([{"index": 0, "message": message, "logprobs": null, "finish_reason": "length"}]));
        assert_eq!(whole["usage"]["prompt_tokens"], json!(ids.len()));
        body["stream"] = json!(true);
        let events = post(server.address, CHAT, &body).events();
        assert!(events.iter().all(|event| event["object"] == "chat.completion.chunk"));
        assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
        assert_eq!(joined(&events, |choice| &choice["delta"]["content"]).0, [(text.clone(), "length".to_owned())]);
    }
}

#[test]
fn several_prompts_have_several_answers_each_with_a_seed_of_its_own() {
    let dir = random_model(256);
    let (server, engine) = (Running::new(&dir, &options()), engine(dir.path()));
    let prompts = ["to be", "the dog"].map(|prompt| engine.encode_prompt(prompt).unwrap());
    let sampling = SamplingOptions { temperature: 1.5, top_k: 50, top_p: 0.98, min_p: 0.001, repetition_penalty: 1.1, seed: 7 };
    let say = |prompt: &[u32], seed: u64| {
        let sampling = SamplingOptions { seed, ..sampling };
        solo(&engine, prompt, GenerationOptions { sampling, max_new_tokens: 9, ..GREEDY }).0
    };
    let expected = [say(&prompts[0], 7), say(&prompts[0], 8), say(&prompts[1], 7), say(&prompts[1], 8)];
    assert!(expected[0] != expected[1] && expected[2] != expected[3], "{expected:?}");
    let mut body = json!({"prompt": ["to be", "the dog"], "n": 2, "seed": 7, "max_tokens": 9, "temperature": 1.5, "top_k": 50,
        "top_p": 0.98, "min_p": 0.001, "repetition_penalty": 1.1});
    for prompt in [json!(["to be", "the dog"]), json!(prompts)] {
        body["prompt"] = prompt;
        let whole = post(server.address, COMPLETIONS, &body).json();
        let texts: Vec<_> = whole["choices"].as_array().unwrap().iter().map(|choice| choice["text"].as_str().unwrap()).collect();
        assert_eq!(texts, expected);
        let read = prompts[0].len() + prompts[1].len();
        assert_eq!(whole["usage"], json!({"prompt_tokens": read, "completion_tokens": 36, "total_tokens": read + 36}));
    }
    body["stream"] = json!(true);
    let answers = joined(&post(server.address, COMPLETIONS, &body).events(), |choice| &choice["text"]).0;
    assert_eq!(answers, expected.map(|text| (text, "length".to_owned())));
    let random = json!({"prompt": "to be", "max_tokens": 20, "temperature": 1.5});
    let say = || post(server.address, COMPLETIONS, &random).json()["choices"][0]["text"].clone();
    assert!((0..3).any(|_| say() != say()), "without a seed chance decides");
}

#[test]
fn a_stop_string_ends_an_answer_and_an_echo_opens_it() {
    let dir = circle_model();
    let server = Running::new(&dir, &options());
    let mut body = json!({"prompt": "é", "max_tokens": 60, "temperature": 0, "stop": ["never", "жé"], "echo": true});
    let whole = post(server.address, COMPLETIONS, &body).json();
    assert_eq!((&whole["choices"][0]["text"], &whole["choices"][0]["finish_reason"]), (&json!("é☺𝄞"), &json!("stop")));
    body["stream"] = json!(true);
    let answers = joined(&post(server.address, COMPLETIONS, &body).events(), |choice| &choice["text"]).0;
    assert_eq!(answers, [("é☺𝄞".to_owned(), "stop".to_owned())]);
}

#[test]
fn no_event_ends_within_a_character() {
    let server = Running::new(&circle_model(), &options());
    let all = CIRCLE.repeat(9);
    for count in 1..=24 {
        let body = json!({"prompt": "é", "max_tokens": count, "temperature": 0, "stream": true});
        let events = post(server.address, COMPLETIONS, &body).events();
        let expected = String::from_utf8_lossy(&all.as_bytes()[2..2 + count]).into_owned();
        assert_eq!(joined(&events, |choice| &choice["text"]).0[0].0, expected);
        let texts: Vec<_> =
            events.iter().map(|event| event["choices"][0]["text"].as_str().unwrap()).filter(|text| !text.is_empty()).collect();
        assert!(texts[..texts.len() - 1].iter().all(|text| CIRCLE.contains(text)), "{texts:?}");
    }
}

#[test]
fn log_probabilities_are_those_of_the_engine() {
    let dir = random_model(256);
    let (server, engine) = (Running::new(&dir, &options()), engine(dir.path()));
    let ids = engine.encode_chat(&[Message::new("user", "hi")]).unwrap();
    let (mut pieces, mut workspace) = (Vec::new(), engine.model.new_workspace(64));
    let options = GenerationOptions { max_new_tokens: 5, num_log_probabilities: Some(3), ..GREEDY };
    let keep = |piece: &bitnet::inference::Piece| {
        pieces.push(piece.clone());
        Ok(())
    };
    bitnet::inference::generate(&engine, &ids, options, &mut workspace, &|| false, keep).unwrap();
    let near = |value: &Value, expected: f32| (value.as_f64().unwrap() - f64::from(expected)).abs() < 1e-6;
    let mut body =
        json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "temperature": 0, "logprobs": true, "top_logprobs": 3});
    let whole = post(server.address, CHAT, &body).json();
    let content = whole["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    assert_eq!(content.len(), 5);
    for (entry, piece) in content.iter().zip(&pieces) {
        let expected = piece.log_probabilities.as_ref().unwrap();
        assert!(near(&entry["logprob"], expected.chosen) && entry["bytes"] == json!(engine.tokenizer.content(piece.token)), "{entry}");
        let top = entry["top_logprobs"].as_array().unwrap();
        assert!(top.len() == 3 && top.iter().zip(&expected.top).all(|(entry, top)| near(&entry["logprob"], top.log_probability)));
    }
    body["stream"] = json!(true);
    let events = post(server.address, CHAT, &body).events();
    let streamed = events.iter().filter_map(|event| event["choices"][0]["logprobs"]["content"].as_array()).flatten();
    assert_eq!(streamed.cloned().collect::<Vec<_>>(), content);
    let body = json!({"prompt": ids, "max_tokens": 5, "temperature": 0, "logprobs": 2});
    let lists = post(server.address, COMPLETIONS, &body).json()["choices"][0]["logprobs"].clone();
    for (index, piece) in pieces.iter().enumerate() {
        let expected = piece.log_probabilities.as_ref().unwrap();
        assert!(near(&lists["token_logprobs"][index], expected.chosen), "{lists}");
        assert_eq!(lists["tokens"][index], content[index]["token"].as_str().unwrap());
        assert!(lists["top_logprobs"][index].as_object().unwrap().contains_key(lists["tokens"][index].as_str().unwrap()));
    }
    assert_eq!((lists["text_offset"][0].as_u64(), lists["tokens"].as_array().unwrap().len()), (Some(0), 5));
}
