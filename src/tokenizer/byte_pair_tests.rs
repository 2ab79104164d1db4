//! Claims about learned byte-pair tokenizers: any text comes back, the same text gives the same file, and what is refused.

use super::*;
use crate::random::Random;
use crate::tokenizer::{BOS_ID, EOS_ID, PAD_ID};

fn options(vocab_size: usize) -> BytePairOptions {
    BytePairOptions { vocab_size, min_frequency: 2, special_tokens: vec!["<|user|>".into()], largest_sample: 1 << 20 }
}

/// Sentences of a few words, numbers and line breaks, and rare words that have enough pairs for some hundred tokens.
fn corpus() -> Vec<String> {
    let words = ["the", "ternary", "model", "learned", "to", "add", "café", "漢字", "don't", "42", "1917", "\n\n", "(", ")", "  "];
    let mut random = Random::derive(3, "corpus", 0);
    let mut sentence = |_| {
        let known: Vec<&str> = (0..40).map(|_| words[random.below(15) as usize]).collect();
        let rare: String = (0..30).map(|at| if at % 4 == 0 { ' ' } else { char::from(b'a' + random.below(26) as u8) }).collect();
        known.join(" ") + &rare + ".\n"
    };
    (0..100).map(&mut sentence).collect()
}

fn trained(vocab_size: usize) -> Tokenizer {
    Tokenizer::train_byte_pair(corpus().into_iter().map(Ok), &options(vocab_size)).unwrap().tokenizer
}

/// Characters of every plane and kind, at random.
fn wild_text(random: &mut Random) -> String {
    let kinds = [(0, 0x80), (0x80, 0x800), (0x800, 0xd800), (0xe000, 0x1_0000), (0x1_f300, 0x500), (0x1_0000, 0x10_0000), (0x20, 0x60)];
    let known = ["\r\n", "\n", "  ", " the", "👩‍👩‍👧‍👦", "e\u{301}", "<|user|>", "<eos>", "</s>", "\0", "\u{feff}", "\u{2028}", "12345", "'s"];
    let mut character = |_| match random.below(8) {
        0 => known[random.below(known.len() as u64) as usize].to_owned(),
        kind => {
            let (start, count) = kinds[kind as usize - 1];
            let code = start + random.below(count) as u32;
            char::from_u32(code).unwrap_or('\u{10ffff}').to_string()
        }
    };
    (0..60).map(&mut character).collect()
}

#[test]
fn any_text_comes_back_and_its_bytes_are_counted() {
    let (tokenizer, mut random) = (trained(400), Random::derive(4, "text", 0));
    let texts: Vec<String> = (0..300).map(|_| wild_text(&mut random)).collect();
    let batch = tokenizer.encode_batch(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    for (text, ids) in texts.iter().zip(batch) {
        assert_eq!(tokenizer.encode(text).unwrap(), ids);
        assert_eq!(&tokenizer.decode(&ids), text);
        assert_eq!(ids.iter().map(|id| tokenizer.token_bytes(*id)).sum::<usize>(), text.len());
        assert!(ids.iter().all(|id| *id > 4), "{text:?} became a special token");
    }
}

#[test]
fn a_stream_of_any_ids_is_what_decoding_at_once_gives() {
    let (tokenizer, mut random) = (trained(400), Random::derive(5, "ids", 0));
    for _ in 0..300 {
        let ids: Vec<u32> = (0..50).map(|_| random.below(402) as u32).collect();
        let mut stream = tokenizer.stream();
        let shown: String = ids.iter().map(|id| stream.push(*id)).collect();
        assert_eq!(shown + &stream.finish(), tokenizer.decode(&ids), "{ids:?}");
    }
    let mut stream = tokenizer.stream();
    let shown: Vec<String> = tokenizer.encode("🙂").unwrap().into_iter().map(|id| stream.push(id)).collect();
    assert!(shown.len() > 1 && shown[..shown.len() - 1].iter().all(String::is_empty) && shown.last().unwrap() == "🙂", "{shown:?}");
}

#[test]
fn the_same_text_gives_the_same_file_and_the_file_the_same_tokenizer() {
    let tokenizer = trained(400);
    let json = tokenizer.to_json().unwrap();
    assert_eq!(trained(400).to_json().unwrap(), json);
    assert_eq!(Tokenizer::from_json(&json).unwrap(), tokenizer);
    assert_eq!(tokenizer.vocab_size(), 400);
    assert_eq!((tokenizer.pad_id(), tokenizer.bos_id(), tokenizer.eos_id()), (Some(PAD_ID), Some(BOS_ID), Some(EOS_ID)));
    let file: serde_json::Value = serde_json::from_str(&json).unwrap();
    let of_special: Vec<_> = file["added_tokens"].as_array().unwrap().iter().map(|token| (&token["content"], &token["id"])).collect();
    assert_eq!(serde_json::json!(of_special), serde_json::json!([["<pad>", 0], ["<bos>", 1], ["<eos>", 2], ["<unk>", 3], ["<|user|>", 4]]));
}

#[test]
fn frequent_words_become_one_token_with_their_space_and_numbers_at_most_three_digits() {
    let tokenizer = trained(400);
    assert_eq!(tokenizer.encode(" ternary model learned").unwrap().len(), 3);
    assert_eq!(tokenizer.encode("1917").unwrap().len(), 2);
}

#[test]
fn a_corpus_that_is_too_small_is_said_to_be() {
    let small = Tokenizer::train_byte_pair([Ok("aa aa")], &options(1000)).unwrap();
    assert_eq!((small.tokenizer.vocab_size(), small.missing_tokens, small.documents, small.text_bytes), (262, 738, 1, 5));
    let nothing = Tokenizer::train_byte_pair(Vec::<Result<String>>::new(), &options(261)).unwrap();
    assert_eq!((nothing.tokenizer.vocab_size(), nothing.missing_tokens, nothing.is_cut), (261, 0, false));
    assert_eq!(nothing.tokenizer.decode(&nothing.tokenizer.encode("é\0").unwrap()), "é\0");
}

#[test]
fn the_sample_ends_at_its_limit_and_within_no_character() {
    let options = BytePairOptions { largest_sample: 100_001, ..options(300) };
    let training = Tokenizer::train_byte_pair(std::iter::repeat_with(|| Ok("é".repeat(30_000))), &options).unwrap();
    assert_eq!((training.documents, training.text_bytes, training.is_cut), (2, 100_000, true));
    let whole = BytePairOptions { largest_sample: 4, ..options };
    let training = Tokenizer::train_byte_pair(["ab", "cd"].map(Ok), &whole).unwrap();
    assert_eq!((training.documents, training.text_bytes, training.is_cut), (2, 4, false));
}

#[test]
fn long_documents_are_parted_between_words() {
    let text = "word ".repeat(40_000);
    let mut sample = Sample::default();
    sample.add(&text);
    assert!(sample.pieces.len() > 3 && sample.pieces.concat() == text && sample.pieces[1..].iter().all(|piece| piece.starts_with(" word")));
    assert_eq!(cut(&"a".repeat(PIECE + 1)), PIECE);
}

#[test]
fn options_that_contradict_themselves_and_documents_that_cannot_be_read_are_errors() {
    let error = |options| Tokenizer::train_byte_pair([Ok("text")], &options).unwrap_err().to_string();
    assert!(error(options(260)).contains("vocab_size is 260, but the special tokens and the 256 bytes are 261"));
    assert!(error(BytePairOptions { largest_sample: LARGEST_SAMPLE + 1, ..options(300) }).contains("take at most 1073741824"));
    for tokens in [&["<user>"][..], &["<||>"], &["<|a b|>"], &["<|a|>", "<|a|>"]] {
        let special_tokens = tokens.iter().map(ToString::to_string).collect();
        assert!(error(BytePairOptions { special_tokens, ..options(300) }).contains("the special token \"<"), "{tokens:?}");
    }
    let documents = [Ok("text"), Err(Error::input("line 7"))];
    assert_eq!(Tokenizer::train_byte_pair(documents, &options(300)).unwrap_err().to_string(), "line 7");
}
