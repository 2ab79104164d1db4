//! Claims about character tokens, against encodings that the Python package `tokenizers` made from the same `tokenizer.json`
//! (tests/reference/character_tokenizer/record.py).

use crate::Error;
use crate::tokenizer::{CharacterTokenizer, EOS_ID, LARGEST_ALPHABET, PAD_ID, Tokenizer, UNK_ID};

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
    assert_eq!((tokenizer.vocab_size(), tokenizer.pad_id(), tokenizer.bos_id(), tokenizer.eos_id()), (32, Some(0), Some(1), Some(2)));
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
        let error = CharacterTokenizer::from_json(&TOKENIZER_JSON.replace(from, to)).unwrap_err();
        assert!(error.exit_status() == 2 && error.to_string().contains(expected), "{error}");
    }
    for text in ["", "{", "[]", "null", "{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}}"] {
        assert_eq!(Tokenizer::from_json(text).unwrap_err().exit_status(), 2, "{text}");
    }
}

#[test]
fn the_alphabet_of_documents_is_theirs_in_code_point_order() {
    let documents = ["to be\r\n", "", "or not 🙂"];
    let tokenizer = Tokenizer::characters_of(documents.map(Ok)).unwrap();
    assert_eq!(tokenizer, Tokenizer::characters("\n\r benort🙂", 14).unwrap());
    assert_eq!(tokenizer.encode("\n🙂").unwrap(), [4, 13]);
    assert_eq!(Tokenizer::from_json(&tokenizer.to_json().unwrap()).unwrap(), tokenizer);
    assert_eq!((tokenizer.token_bytes(13), tokenizer.token_bytes(6), tokenizer.token_bytes(0), tokenizer.token_bytes(14)), (4, 1, 0, 0));
}

#[test]
fn an_alphabet_without_end_and_a_document_that_cannot_be_read_are_errors() {
    let many: String = ('\u{4e00}'..).take(LARGEST_ALPHABET + 1).collect();
    let error = Tokenizer::characters_of([Ok(&many)]).unwrap_err();
    assert!(error.exit_status() == 2 && error.to_string().contains("more than 10000 different characters"), "{error}");
    let error = Tokenizer::characters_of([Ok("a"), Err(Error::input("line 7"))]).unwrap_err();
    assert_eq!(error.to_string(), "line 7");
}

#[test]
fn a_stream_of_characters_and_a_batch_are_what_comes_at_once() {
    let (tokenizer, text) = (arithmetic(), "25 + 17 = 42\n");
    let mut stream = tokenizer.stream();
    let shown: String = tokenizer.encode(text).unwrap().into_iter().chain([EOS_ID]).map(|id| stream.push(id)).collect();
    assert_eq!(shown + &stream.finish(), text);
    assert_eq!(tokenizer.encode_batch(&["1", "2 ="]).unwrap(), [tokenizer.encode("1").unwrap(), tokenizer.encode("2 =").unwrap()]);
    assert!(tokenizer.encode_batch(&["1", "x"]).unwrap_err().to_string().starts_with("text 1 of the batch: the character 'x'"));
}
