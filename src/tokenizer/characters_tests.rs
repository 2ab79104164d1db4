//! Claims about character tokens, against encodings that the Python package `tokenizers` made from the same `tokenizer.json`
//! (tests/reference/character_tokenizer/record.py).

use crate::tokenizer::{EOS_ID, PAD_ID, Tokenizer, UNK_ID};

const ALPHABET: &str = "\n 0123456789+-*/=";
const TOKENIZER_JSON: &str = include_str!("../../tests/reference/character_tokenizer/tokenizer.json");
const ENCODINGS: &str = include_str!("../../tests/reference/character_tokenizer/encodings.json");

fn arithmetic() -> Tokenizer {
    Tokenizer::characters(ALPHABET, 32).unwrap()
}

#[test]
fn ids_are_special_tokens_then_the_alphabet_in_its_order() {
    let tokenizer = arithmetic();
    assert_eq!(tokenizer.encode(ALPHABET).unwrap(), (4..21).collect::<Vec<u32>>());
    assert_eq!((tokenizer.vocab_size(), tokenizer.pad_id(), tokenizer.bos_id(), tokenizer.eos_id()), (32, 0, 1, 2));
}

#[test]
fn decoding_undoes_encoding_and_skips_special_reserved_and_unknown_ids() {
    let tokenizer = arithmetic();
    let mut ids = tokenizer.encode("25 + 17 = 42\n").unwrap();
    ids.extend([PAD_ID, EOS_ID, UNK_ID, 21, 31, 32, u32::MAX]);
    assert_eq!(tokenizer.decode(&ids), "25 + 17 = 42\n");
}

#[test]
fn a_character_outside_the_alphabet_is_named_with_its_offset() {
    let error = arithmetic().encode("1 + é").unwrap_err();
    assert_eq!(error.exit_status(), 2);
    assert!(error.to_string().contains("'é' at offset 4"), "{error}");
}

#[test]
fn the_saved_file_is_the_one_that_the_python_package_read() {
    assert_eq!(arithmetic().to_json().unwrap(), TOKENIZER_JSON.trim_end());
}

#[test]
fn ids_and_text_equal_those_of_the_python_package() {
    let recorded: Vec<(String, Vec<u32>, String)> = serde_json::from_str(ENCODINGS).unwrap();
    assert!(recorded.len() >= 8);
    for (text, ids, decoded) in recorded {
        assert_eq!(arithmetic().encode(&text).unwrap(), ids, "{text:?}");
        assert_eq!(arithmetic().decode(&ids), decoded, "{text:?}");
    }
}

#[test]
fn a_saved_tokenizer_is_read_back_the_same() {
    let alphabets = [(ALPHABET, 32), (ALPHABET, 21), ("", 4), ("\"\\\u{1}é漢🙂<>", 40)];
    for (alphabet, vocab_size) in alphabets {
        let tokenizer = Tokenizer::characters(alphabet, vocab_size).unwrap();
        assert_eq!(Tokenizer::from_json(&tokenizer.to_json().unwrap()).unwrap(), tokenizer);
    }
}

#[test]
fn an_alphabet_that_repeats_or_does_not_fit_is_refused() {
    assert!(Tokenizer::characters("aba", 32).unwrap_err().to_string().contains("'a' twice"));
    let error = Tokenizer::characters(ALPHABET, 20).unwrap_err().to_string();
    assert!(error.contains("vocab_size is 20") && error.contains("21 or more"), "{error}");
}

#[test]
fn files_of_other_tokenizers_are_refused_where_they_differ() {
    let damage = [
        ("\"type\": \"BPE\"", "\"type\": \"Unigram\"", "Unigram"),
        ("\"merges\": []", "\"merges\": [[\"1\", \"2\"]]", "1 merges"),
        ("\"<pad>\": 0", "\"<PAD>\": 0", "\"<PAD>\" has id 0"),
        ("\"<reserved_3>\": 24", "\"ab\": 24", "\"ab\" has id 24"),
        ("\"<reserved_3>\": 24", "\"<reserved_3>\": 23", "has id 23, where 24 belongs"),
        ("\"7\": 13", "\"78\": 13", "\"78\" has id 13"),
        ("\"vocab\"", "\"words\"", "vocab"),
    ];
    for (from, to, expected) in damage {
        assert!(TOKENIZER_JSON.contains(from), "{from}");
        let error = Tokenizer::from_json(&TOKENIZER_JSON.replace(from, to)).unwrap_err();
        assert!(error.exit_status() == 2 && error.to_string().contains(expected), "{error}");
    }
    for text in ["", "{", "[]", "null", "{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}}"] {
        assert_eq!(Tokenizer::from_json(text).unwrap_err().exit_status(), 2, "{text}");
    }
}
