//! Claims about foreign tokenizer files: the ids of published ones, what is refused, and text that looks like a special token.

use crate::storage::{DISK, read_capped};
use crate::tokenizer::{LARGEST_FILE, Tokenizer};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// A byte-level file in small: letters, a space, `he`, `</s>` that the file forgot to mark, and two more added tokens.
fn small() -> Value {
    let vocab = json!({"h": 0, "e": 1, "l": 2, "o": 3, "Ġ": 4, "he": 5, "<": 6, "/": 7, "s": 8, ">": 9, "Ã": 10, "©": 11, "</s>": 12});
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[FILL]"},
        "added_tokens": [added(12, "</s>", false), added(13, "[FILL]", true), added(14, "<|say|>", false), added(15, "hello", false)],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|say|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [], "special_tokens": {"<|say|>": {"id": "<|say|>", "ids": [14], "tokens": ["<|say|>"]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": 0.5, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": ["h e"]},
    })
}

fn added(id: u32, content: &str, special: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": special})
}

fn read(value: &Value) -> Tokenizer {
    Tokenizer::from_json(&value.to_string()).unwrap()
}

#[track_caller]
fn refused(value: &Value) -> String {
    let error = Tokenizer::from_json(&value.to_string()).unwrap_err();
    assert_eq!(error.exit_status(), 2, "{error}");
    error.to_string()
}

#[test]
fn ids_come_from_the_merges_alone_whatever_the_file_says_of_cutting_filling_and_chance() {
    let tokenizer = read(&small());
    for _ in 0..20 {
        assert_eq!(tokenizer.encode("he lo hé").unwrap(), [5, 4, 2, 3, 4, 0, 10, 11]);
    }
    assert_eq!(tokenizer.decode(&[5, 14, 4, 12, 2, 15, 99, 10, 11, 10]), "he lhelloé\u{fffd}");
    assert!(tokenizer.encode("").unwrap().is_empty());
}

#[test]
fn roles_are_what_the_template_says_and_else_the_usual_names() {
    let tokenizer = read(&small());
    assert_eq!((tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id(), tokenizer.filler_id()), (Some(14), Some(12), Some(13), 13));
    assert_eq!(tokenizer.opening_id(), Some(14));
    assert_eq!(tokenizer.vocab_size(), 16);
    assert_eq!([0, 5, 10, 12, 15, 16].map(|id| tokenizer.token_bytes(id)), [1, 2, 1, 0, 5, 0]);
    let mut bare = small();
    bare["added_tokens"] = json!([]);
    let tokenizer = read(&bare);
    assert_eq!((tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id(), tokenizer.filler_id()), (None, None, None, 0));
}

#[test]
fn text_that_looks_like_a_special_token_is_text() {
    let tokenizer = read(&small());
    assert_eq!(tokenizer.encode("</s>").unwrap(), [6, 7, 8, 9]);
    assert_eq!(tokenizer.encode("hello</s>hello").unwrap(), [15, 6, 7, 8, 9, 15]);
    let error = tokenizer.encode("<|say|>").unwrap_err(); // | and a have no token: nothing is lost without a word
    assert!(error.to_string().contains("loses 4 of 7 bytes"), "{error}");
}

#[test]
fn text_that_only_a_special_token_can_stand_for_is_refused() {
    let mut file = small();
    file["model"]["ignore_merges"] = true.into();
    file["pre_tokenizer"]["use_regex"] = false.into();
    let error = read(&file).encode_batch(&["he", "</s>"]).unwrap_err();
    assert!(error.exit_status() == 2 && error.to_string().contains("text 1 of the batch: the text holds \"</s>\""), "{error}");
}

#[test]
fn a_file_that_was_read_is_kept_byte_for_byte() {
    let text = format!("  {}\n\n", small());
    let tokenizer = Tokenizer::from_json(&text).unwrap();
    assert_eq!(tokenizer.to_json().unwrap(), text);
    assert_eq!(tokenizer, tokenizer.clone());
    assert_eq!(tokenizer, Tokenizer::from_json(&text).unwrap());
    assert_ne!(tokenizer, read(&small()));
    assert!(format!("{tokenizer:?}").len() < 200);
}

#[test]
fn a_hostile_file_is_one_clear_error() {
    let long = "h".repeat(100);
    let cases: [(&str, Value, &str); 19] = [
        ("/model", Value::Null, "no object `model`"),
        ("/model/type", json!("Magic"), "`model.type` is \"Magic\""),
        ("/model/vocab", json!(7), "`model.vocab` is 7"),
        ("/model/vocab", json!({}), "but no token has id 0"),
        ("/model/vocab/h", json!("0"), "`model.vocab` for \"h\" is \"0\", not an id"),
        ("/model/vocab/h", json!(-1), "not an id"),
        ("/model/vocab/h", json!(1), "id 1 stands for \"e\" and \"h\""),
        ("/model/vocab/h", json!(4_294_967_295u32), "but no token has id 0"),
        ("/model/merges", json!({"h": "e"}), "not a list"),
        ("/model/merges", json!([[long, "e"]]), "is not in the vocabulary"),
        ("/model/merges", json!([["</s>", "he"]]), "\"</s>he\" is not in the vocabulary"),
        ("/model/merges", json!(["h e l"]), "`model.merges[0]` is \"h e l\": not two tokens"),
        ("/model/continuing_subword_prefix", json!("##"), "\"e\" does not begin with \"##\""),
        ("/added_tokens/0/id", json!(3), "\"</s>\" has the ids 12 and 3"),
        ("/added_tokens/1/id", json!(14), "id 14 stands for \"<|say|>\" and \"[FILL]\""),
        ("/added_tokens/3/id", json!(20), "\"hello\" has id 20, but no token has id 15"),
        ("/added_tokens/3/content", json!(""), "without content"),
        ("/added_tokens", json!({"a": 1}), "`added_tokens` is {\"a\":1}, not a list"),
        (
            "/pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false}),
            "not a tokenizer.json",
        ),
    ];
    for (place, value, expected) in cases {
        let mut file = small();
        *file.pointer_mut(place).unwrap() = value;
        let error = refused(&file);
        assert!(error.contains(expected), "{place}: {error}");
    }
    for text in ["", "{", "[]", "null", "\"\"", &"[".repeat(100_000)] {
        assert_eq!(Tokenizer::from_json(text).unwrap_err().exit_status(), 2);
    }
    let error = Tokenizer::from_json(&" ".repeat(LARGEST_FILE + 1)).unwrap_err().to_string();
    assert!(error.starts_with("67108865 bytes"), "{error}");
}

#[test]
fn added_tokens_in_an_order_that_the_library_would_number_differently_are_refused() {
    let mut file = small();
    file["added_tokens"].as_array_mut().unwrap().swap(2, 3);
    assert!(refused(&file).contains("\"hello\" has id 15, but comes where 14 is due"));
}

#[test]
fn a_normalizer_or_a_decoder_that_grows_a_text_without_end_is_refused() {
    let doubling = json!({"type": "Replace", "pattern": {"String": "h"}, "content": "hh"});
    let mut file = small();
    file["normalizer"] = json!({"type": "Sequence", "normalizers": vec![doubling.clone(); 60]});
    assert!(refused(&file).contains("`normalizer` makes a text up to"));
    let mut file = small();
    file["decoder"] = json!({"type": "Sequence", "decoders": vec![doubling.clone(); 60]});
    assert!(refused(&file).contains("`decoder` makes a text up to"));
    let mut file = small();
    file["normalizer"] = json!({"type": "Sequence", "normalizers": vec![doubling; 5]});
    let tokenizer = read(&file);
    assert_eq!(tokenizer.encode("h").unwrap().len(), 32);
    let long = "h".repeat(1 << 20);
    assert!(tokenizer.encode(&long).unwrap_err().to_string().contains("1048576 bytes could become 33554432"));
    assert!(tokenizer.encode_batch(&["h", &long]).unwrap_err().to_string().contains("text 1 of the batch"));
}

#[test]
fn a_text_that_cannot_fit_is_told_by_its_length_alone() {
    let tokenizer = read(&small()); // `hello` is the longest token
    assert!(!tokenizer.cannot_fit(&"hello".repeat(100), 100) && tokenizer.cannot_fit(&"hello".repeat(101), 100));
    let mut file = small();
    file["normalizer"] = json!({"type": "Strip", "strip_left": true, "strip_right": true});
    assert!(!read(&file).cannot_fit(&" ".repeat(1 << 20), 1), "the spaces could all go");
    let characters = Tokenizer::characters("ab", 6).unwrap();
    assert!(!characters.cannot_fit("abab", 4) && characters.cannot_fit("ababa", 4));
}

#[test]
fn a_token_longer_than_any_in_use_is_not_added() {
    let mut file = small();
    file["added_tokens"][3]["content"] = "x".repeat(1001).into();
    assert!(refused(&file).contains("`added_tokens[3]` has 1001 bytes"));
}

#[test]
fn tokens_that_never_become_a_character_do_not_wait_for_ever() {
    let mut file = small();
    file["normalizer"] = json!({"type": "NFC"}); // then tokens are decoded by the library
    let tokenizer = read(&file);
    let mut stream = tokenizer.stream();
    let shown: Vec<String> = (0..1000).map(|_| stream.push(10)).collect(); // the first byte of two
    assert!(shown.iter().filter(|text| !text.is_empty()).count() >= 10, "{shown:?}");
    assert_eq!(shown.concat() + &stream.finish(), "\u{fffd}".repeat(1000));
    let mut stream = tokenizer.stream();
    assert_eq!([10, 11, 14, 5].map(|id| stream.push(id)), ["", "é", "", "he"]);
}

#[test]
fn random_damage_never_panics() {
    let text = small().to_string();
    let mut random = crate::random::Random::derive(1, "damage", 0);
    for _ in 0..2000 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = b" \"0123456789{}[]:,ntafhelo"[random.below(26) as usize];
        }
        if let Ok(tokenizer) = Tokenizer::from_json(&String::from_utf8_lossy(&bytes)) {
            let _ = tokenizer.encode("he lo</s> hello\n").map(|ids| tokenizer.decode(&ids));
        }
    }
}

fn shared(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("BITNET_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let path = shared.join("data").join(name);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
    }
    path.exists().then_some(path)
}

fn text_of(path: &Path) -> String {
    String::from_utf8(read_capped(&DISK, path, LARGEST_FILE as u64).unwrap()).unwrap()
}

/// The ids of `text` with the token that ends documents where it is written, as the recorded encodings have it.
fn with_document_ends(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let parts: Vec<&str> = text.split("<|endoftext|>").collect();
    let encoded = tokenizer.encode_batch(&parts).unwrap();
    assert_eq!(encoded[0], tokenizer.encode(parts[0]).unwrap());
    encoded.join(&tokenizer.eos_id().unwrap())
}

#[test]
fn published_tokenizers_give_the_ids_of_the_python_package() {
    let Some(goldens) = shared("tokenizers/golden_encodings.json") else { return };
    let goldens: Value = serde_json::from_str(&text_of(&goldens)).unwrap();
    for golden in goldens["goldens"].as_array().unwrap() {
        let path = |key: &str| shared(golden[key].as_str().unwrap()).unwrap();
        let (tokenizer, text) = (Tokenizer::from_json(&text_of(&path("tokenizer"))).unwrap(), text_of(&path("file")));
        let ids = with_document_ends(&tokenizer, &text);
        assert_eq!(ids.len() as u64, golden["n_tokens"], "{golden}");
        assert_eq!((json!(ids[..16]), json!(ids[ids.len() - 4..])), (golden["first16"].clone(), golden["last4"].clone()));
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, golden["sha256_u32le"], "{golden}");
        let without_ends: Vec<u32> = ids.iter().copied().filter(|id| Some(*id) != tokenizer.eos_id()).collect();
        if golden["roundtrip"] == true {
            assert!(tokenizer.decode(&without_ends) == text.replace("<|endoftext|>", ""), "{golden}");
        }
        let part = &without_ends[..3000];
        let mut stream = tokenizer.stream();
        let shown: String = part.iter().map(|id| stream.push(*id)).collect();
        assert_eq!(shown + &stream.finish(), tokenizer.decode(part));
    }
}
