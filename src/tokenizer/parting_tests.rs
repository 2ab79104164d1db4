//! Claims about parted texts, most of all that their ids are those of the whole text.

use super::*;
use crate::random::Random;
use crate::tokenizer::{BytePairOptions, Tokenizer};

/// Byte pairs learned here, in a file whose pattern for words is `pattern`.
fn byte_pairs(pattern: Option<&str>) -> Value {
    let options = BytePairOptions { vocab_size: 400, min_frequency: 2, special_tokens: Vec::new(), largest_sample: 1 << 20 };
    let learned = Tokenizer::train_byte_pair([Ok(text(1, 4000))], &options).unwrap().tokenizer.to_json().unwrap();
    let mut file: Value = serde_json::from_str(&learned).unwrap();
    match pattern {
        Some(pattern) => file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern.into(),
        None => file["pre_tokenizer"] = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}),
    }
    file
}

/// As LLaMA 2 writes it: letters, signs and some words.
fn whole_texts() -> Value {
    let mut vocab = serde_json::Map::new();
    let joined = ["\u{2581}c", "ca", "\u{2581}ca", "at", "\u{2581}cat", "\u{2581}\u{2581}", "n\n", "1\u{2581}"];
    let single = ('a'..='z').chain('A'..='Z').chain("\u{2581}.,!'123\n\tép".chars()).map(String::from);
    for token in ["<unk>".to_owned()].into_iter().chain(single).chain(joined.map(str::to_owned)) {
        let id = vocab.len();
        vocab.entry(token).or_insert(id.into());
    }
    let merges = ["\u{2581} c", "c a", "\u{2581} ca", "a t", "\u{2581}ca t", "\u{2581} \u{2581}", "n \n", "1 \u{2581}"];
    let merges: Vec<Vec<&str>> = merges.iter().map(|merge| merge.split(' ').collect()).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "post_processor": null, "pre_tokenizer": null, "decoder": null,
        "added_tokens": [{"id": 0, "content": "<unk>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "\u{2581}"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": false, "vocab": vocab, "merges": merges},
    })
}

/// `file` with `value` at `place`.
fn changed(mut file: Value, place: &str, value: Value) -> Value {
    *file.pointer_mut(place).unwrap() = value;
    file
}

/// Words, signs, spaces and breaks in any order.
fn text(seed: u64, length: usize) -> String {
    const PARTS: [&str; 16] = ["cat", "The", "I'm", " ", "  ", "\n", "\t ", ".", "!?", "1", "2023", "ép", "c", "at", "\r\n", "Ω"];
    let mut random = Random::derive(seed, "text", 0);
    let mut text = String::new();
    while text.len() < length {
        text.push_str(PARTS[random.below(16) as usize]);
        text.push_str(if random.below(2) == 0 { " " } else { "" });
    }
    text
}

fn parting(file: &Value) -> Parting {
    Parting::of(&TokenizerFile::parse(&file.to_string()).unwrap().unwrap())
}

#[track_caller]
fn pieces_give_the_ids_of_the_whole(file: &Value, expected: Parting) {
    assert_eq!(parting(file), expected);
    let tokenizer = Tokenizer::from_json(&file.to_string()).unwrap();
    for seed in 0..20 {
        let whole = text(seed, 2000).replace('Ω', if expected == Parting::AtSpace { "p" } else { "Ω" });
        let pieces: Vec<&str> = expected.pieces(&whole, 50).collect();
        assert!(pieces.len() > 20, "{} pieces", pieces.len());
        let ids: Vec<u32> = pieces.iter().flat_map(|piece| tokenizer.encode(piece).unwrap()).collect();
        assert_eq!(ids, tokenizer.encode(&whole).unwrap(), "{whole:?}");
    }
}

#[test]
fn pieces_give_the_ids_of_the_whole_text_where_words_are_taken() {
    pieces_give_the_ids_of_the_whole(&byte_pairs(None), Parting::BeforeSpace);
    pieces_give_the_ids_of_the_whole(&byte_pairs(Some(PATTERN)), Parting::BeforeSpace);
    pieces_give_the_ids_of_the_whole(&byte_pairs(Some(&PATTERN.replace("{1,3}", ""))), Parting::BeforeSpace);
}

#[test]
fn pieces_give_the_ids_of_the_whole_text_where_there_are_no_words() {
    pieces_give_the_ids_of_the_whole(&whole_texts(), Parting::AtSpace);
}

#[test]
fn a_tokenizer_that_could_see_the_border_gets_whole_texts() {
    let added = |content: &str, is_greedy: bool| {
        let mut file = byte_pairs(None);
        let id = file["model"]["vocab"].as_object().unwrap().len();
        let token = json!({"id": id, "content": content, "special": false, "single_word": false, "lstrip": is_greedy, "rstrip": false, "normalized": false});
        file["added_tokens"].as_array_mut().unwrap().push(token);
        file
    };
    assert_eq!(parting(&added("mark", false)), Parting::BeforeSpace);
    let mut joins = whole_texts();
    let id = joins["model"]["vocab"].as_object().unwrap().len();
    joins["model"]["vocab"]["t\u{2581}"] = id.into();
    let mut lacks = whole_texts();
    let z = lacks["model"]["vocab"].as_object_mut().unwrap().remove("z").unwrap();
    lacks["model"]["vocab"]["0"] = z;
    for file in [
        byte_pairs(Some(r"\w+ \w+|\s+")),
        changed(byte_pairs(None), "/pre_tokenizer/use_regex", false.into()),
        changed(byte_pairs(None), "/normalizer", json!({"type": "Lowercase"})),
        added("two words", false),
        added("mark", true),
        changed(whole_texts(), "/normalizer/normalizers/0/prepend", "x".into()),
        changed(whole_texts(), "/pre_tokenizer", json!({"type": "Whitespace"})),
        joins,
        lacks,
    ] {
        assert_eq!(parting(&file), Parting::Never, "{}", file["pre_tokenizer"]);
    }
}

#[test]
fn a_text_is_parted_between_letters_or_not_at_all() {
    let pieces = |parting: Parting, text| parting.pieces(text, 6).collect::<Vec<&str>>();
    assert_eq!(pieces(Parting::BeforeSpace, "ab cd ef gh"), ["ab cd", " ef gh"]);
    assert_eq!(pieces(Parting::AtSpace, "ab cd ef gh"), ["ab cd", "ef gh"]);
    assert_eq!(pieces(Parting::Never, "ab cd ef gh"), ["ab cd ef gh"]);
    assert_eq!(pieces(Parting::BeforeSpace, "abcdefghij k"), ["abcdefghij", " k"]);
    assert_eq!(pieces(Parting::BeforeSpace, "ab, 12 34 é é é"), ["ab, 12 34 é é é"]);
    assert_eq!(pieces(Parting::AtSpace, "a"), ["a"]);
    assert_eq!(pieces(Parting::AtSpace, ""), [""]);
}

#[test]
fn a_text_has_no_more_bytes_than_its_tokens_can_stand_for() {
    let read = |file: &Value| Tokenizer::from_json(&file.to_string()).unwrap();
    let learned = read(&byte_pairs(Some(PATTERN)));
    let most = learned.most_bytes_of_a_token().unwrap();
    for seed in 0..20 {
        let text = text(seed, 300);
        assert!(learned.encode(&text).unwrap().len() * most >= text.len(), "{most} bytes a token: {text:?}");
    }
    assert!(most >= "cat".len());
    assert_eq!(Tokenizer::characters("ab☺", 9).unwrap().most_bytes_of_a_token(), Some(3));
    // An unknown token or a normalizer may stand for any amount of text.
    let normalized = changed(byte_pairs(None), "/normalizer", json!({"type": "Strip", "strip_left": true, "strip_right": true}));
    assert_eq!([whole_texts(), normalized].map(|file| read(&file).most_bytes_of_a_token()), [None, None]);
    let with_bytes = changed(whole_texts(), "/model/byte_fallback", true.into());
    assert_eq!(read(&with_bytes).most_bytes_of_a_token(), Some("\u{2581}cat".len()));
}
