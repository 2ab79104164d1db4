//! Claims about tokenizers in GGUF's keys: what is written and read again gives the ids of the original.

use super::{GgmlVocabulary, TokenKind, VocabularyModel};
use crate::tokenizer::{BytePairOptions, Tokenizer};
use std::path::{Path, PathBuf};
use std::{env, fs};

const TEXT: &str = "It's 1234 o'clock:  \n\n\tthe café's naïve 東京 — ☺ said \"x1y22z333\" ... WE'LL see  \n";

fn byte_pair() -> Tokenizer {
    let text = ["the cat sat on the mat, the cat's hat; 1234 + 5678 = 6912\n".repeat(20), TEXT.repeat(5)];
    let options = BytePairOptions { vocab_size: 320, min_frequency: 2, special_tokens: vec!["<|user|>".into()], largest_sample: 1 << 20 };
    Tokenizer::train_byte_pair(text.into_iter().map(Ok), &options).unwrap().tokenizer
}

fn there_and_back(tokenizer: &Tokenizer) -> (GgmlVocabulary, Tokenizer) {
    let vocabulary = GgmlVocabulary::of_tokenizer(tokenizer).unwrap();
    let back = Tokenizer::from_json(&vocabulary.to_tokenizer_json().unwrap()).unwrap();
    (vocabulary, back)
}

#[test]
fn a_byte_level_tokenizer_gives_the_same_ids_there_and_back() {
    let tokenizer = byte_pair();
    let (vocabulary, back) = there_and_back(&tokenizer);
    assert_eq!((vocabulary.model, vocabulary.pre.as_deref()), (VocabularyModel::BytePair, Some("dbrx")));
    assert_eq!(back.encode(TEXT).unwrap(), tokenizer.encode(TEXT).unwrap());
    assert_eq!(back.decode(&back.encode(TEXT).unwrap()), TEXT);
    assert_eq!(back.vocab_size(), tokenizer.vocab_size());
    assert_eq!([back.bos_id(), back.eos_id(), back.pad_id()], [tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id()]);
    assert_eq!(back.opening_id(), tokenizer.opening_id());
    assert_eq!(vocabulary.kinds.iter().filter(|kind| **kind == TokenKind::Control).count(), 5);
}

#[test]
fn a_tokenizer_of_characters_gives_the_same_ids_there_and_back() {
    let tokenizer = Tokenizer::characters("ab c\né", 14).unwrap();
    let (vocabulary, back) = there_and_back(&tokenizer);
    assert_eq!((&vocabulary.tokens[6][..], vocabulary.kinds[13], vocabulary.kinds[3]), ("▁", TokenKind::Unused, TokenKind::Unknown));
    for text in ["a b\né c", " a", "  ", ""] {
        assert_eq!(back.encode(text).unwrap(), tokenizer.encode(text).unwrap(), "{text:?}");
        assert_eq!(back.decode(&back.encode(text).unwrap()), text);
    }
}

#[test]
fn scores_make_the_merges_that_they_rank() {
    let tokens = ["<unk>", "<s>", "</s>", "<0x0A>", "a", "b", "▁", "ab", "▁ab", "abab", "bab"].map(str::to_owned).to_vec();
    let mut kinds = vec![TokenKind::Normal; tokens.len()];
    kinds[..4].copy_from_slice(&[TokenKind::Unknown, TokenKind::Control, TokenKind::Control, TokenKind::Byte]);
    let vocabulary = GgmlVocabulary {
        model: VocabularyModel::Scored,
        pre: None,
        tokens,
        kinds,
        scores: vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -2.0, -3.0, -4.0, -1.0],
        merges: Vec::new(),
        bos: Some(1),
        eos: Some(2),
        unknown: Some(0),
        padding: None,
        adds_bos: None,
        adds_space: None,
    };
    let tokenizer = Tokenizer::from_json(&vocabulary.to_tokenizer_json().unwrap()).unwrap();
    assert_eq!((tokenizer.opening_id(), tokenizer.eos_id()), (Some(1), Some(2)));
    assert_eq!(tokenizer.encode("ab").unwrap(), [8]);
    // `bab` has the best score, but is made of `ab`, and once that is there, so is `▁ab`: -2, then -3 and -4 of what is left.
    assert_eq!(tokenizer.encode("abab\n").unwrap(), [8, 7, 3]);
    assert_eq!(tokenizer.decode(&[8, 7, 3]), "abab\n");
    let ranked = GgmlVocabulary { scores: vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -2.0, -9.0, -4.0, -20.0], ..vocabulary.clone() };
    let tokenizer = Tokenizer::from_json(&ranked.to_tokenizer_json().unwrap()).unwrap();
    assert_eq!(tokenizer.encode("abab\n").unwrap(), [6, 9, 3]);
    let plain = GgmlVocabulary { adds_space: Some(false), adds_bos: Some(false), ..ranked };
    let tokenizer = Tokenizer::from_json(&plain.to_tokenizer_json().unwrap()).unwrap();
    assert_eq!((tokenizer.opening_id(), tokenizer.encode("ab").unwrap()), (None, vec![7]));
}

#[test]
fn keys_that_do_not_fit_each_other_are_refused() {
    let fine = GgmlVocabulary::of_tokenizer(&byte_pair()).unwrap();
    let refusal = |vocabulary: GgmlVocabulary| vocabulary.to_tokenizer_json().unwrap_err().to_string();
    assert!(
        refusal(GgmlVocabulary { kinds: vec![TokenKind::Normal], ..fine.clone() }).contains("`tokenizer.ggml.token_type` has 1 entries")
    );
    assert!(refusal(GgmlVocabulary { scores: vec![0.0], ..fine.clone() }).contains("`tokenizer.ggml.scores` has 1 entries"));
    assert!(refusal(GgmlVocabulary { eos: Some(320), ..fine.clone() }).contains("`tokenizer.ggml.eos_token_id` is 320"));
    assert!(refusal(GgmlVocabulary { pre: Some("tekken".into()), ..fine.clone() }).contains("known are llama-bpe"));
    assert!(refusal(GgmlVocabulary { model: VocabularyModel::Scored, ..fine.clone() }).contains("`tokenizer.ggml.scores` has 0 entries"));
    let twice = GgmlVocabulary { tokens: vec!["a".into(); fine.tokens.len()], ..fine };
    assert!(Tokenizer::from_json(&twice.to_tokenizer_json().unwrap()).is_err());
}

#[test]
fn every_rule_that_is_known_reads_back() {
    let fine = GgmlVocabulary::of_tokenizer(&byte_pair()).unwrap();
    for name in super::pre_tokenizers::names().split(", ") {
        let vocabulary = GgmlVocabulary { pre: Some(name.to_owned()), ..fine.clone() };
        let tokenizer = Tokenizer::from_json(&vocabulary.to_tokenizer_json().unwrap()).unwrap();
        assert_eq!(tokenizer.decode(&tokenizer.encode(TEXT).unwrap()), TEXT, "{name}");
    }
    let unnamed = GgmlVocabulary { pre: None, ..fine };
    assert!(Tokenizer::from_json(&unnamed.to_tokenizer_json().unwrap()).is_ok());
}

/// Where published tokenizers lie, if they do.
fn published(name: &str) -> Option<PathBuf> {
    let shared = env::var_os("BITNET_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = shared.join("data/tokenizers").join(name);
    path.is_file().then_some(path)
}

#[test]
fn published_tokenizers_give_the_same_ids_there_and_back() {
    for (name, pre) in [("gpt2.json", Some("gpt-2")), ("dolma2.json", Some("dbrx")), ("phi-3.json", None)] {
        let Some(path) = published(name) else {
            println!("skipped: {name} is not there");
            continue;
        };
        let tokenizer = Tokenizer::from_json(&fs::read_to_string(&path).unwrap()).unwrap();
        let (vocabulary, back) = there_and_back(&tokenizer);
        assert_eq!(vocabulary.pre.as_deref(), pre, "{name}");
        let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
        for text in [TEXT, "Once upon a time", "", "a", "  two  spaces", &readme] {
            assert_eq!(back.encode(text).unwrap(), tokenizer.encode(text).unwrap(), "{name}: {:?}", &text[..text.len().min(40)]);
        }
        assert_eq!([back.bos_id(), back.eos_id(), back.opening_id()], [tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.opening_id()]);
    }
}
