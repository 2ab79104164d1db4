//! Claims about the corpus of an experiment, on small files.

use super::*;
use crate::config::{BadRecords, BytePairConfig, HeldOut};
use crate::data::Split;

fn corpus(directory: &Path, tokenizer: TokenizerConfig) -> Corpus {
    let path = directory.join("text.txt");
    if !path.exists() {
        fs::write(&path, "one fish, two fish.\n".repeat(200)).unwrap();
    }
    let text = TextConfig {
        prepared_in: directory.join("prepared").display().to_string(),
        source: TextSource::Files(vec![path.display().to_string()]),
        text_field: "text".into(),
        document_separator: None,
        held_out: HeldOut::EndOfEachDocumentPercent(10.0),
        begin_with_bos: false,
        end_with_eos: true,
        bad_records: BadRecords::Stop,
    };
    Corpus { name: "mine".into(), text, tokenizer }
}

fn prepared(corpus: &Corpus) -> Prepared {
    match corpus.prepare(&Fetched::default(), 2, &mut |_| (), &mut |_| (), &|| false).unwrap() {
        Outcome::Finished(prepared) => *prepared,
        Outcome::Stopped => panic!("stopped"),
    }
}

#[test]
fn characters_are_those_of_the_corpus_and_the_end_is_held_out() {
    let directory = tempfile::tempdir().unwrap();
    let corpus = corpus(directory.path(), TokenizerConfig::Characters);
    let prepared = prepared(&corpus);
    let tokenizer = read_tokenizer(&prepared.tokenizer_path()).unwrap();
    let alphabet: std::collections::BTreeSet<char> = "one fish, two fish.\n".chars().collect();
    assert_eq!(tokenizer.vocab_size(), 4 + alphabet.len());
    let validation = prepared.shards(Split::Validation).unwrap();
    let mut ids = vec![0; validation.num_tokens() as usize];
    validation.read(0, &mut ids).unwrap();
    assert_eq!(tokenizer.decode(&ids), "one fish, two fish.\n".repeat(20));
    assert_eq!(ids.last().copied(), tokenizer.eos_id());
}

#[test]
fn another_tokenizer_under_the_same_name_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("own.json");
    let write = |alphabet: &str| fs::write(&path, Tokenizer::characters(alphabet, 64).unwrap().to_json().unwrap()).unwrap();
    let corpus = corpus(directory.path(), TokenizerConfig::File(path.display().to_string()));
    write("abcdefghijklmnopqrstuvwxyz ,.\n");
    let first = prepared(&corpus);
    assert!(corpus.up_to_date().unwrap().is_some());
    write("zyxwvutsrqponmlkjihgfedcba ,.\n");
    assert!(corpus.up_to_date().unwrap().is_none());
    assert_ne!(prepared(&corpus).fingerprint(), first.fingerprint());
}

#[test]
fn what_is_prepared_is_taken_as_it_is_until_the_text_changes() {
    let directory = tempfile::tempdir().unwrap();
    let corpus = corpus(directory.path(), TokenizerConfig::BytePair(BytePairConfig { vocab_size: 270, sample_megabytes: 1 }));
    assert!(corpus.open().unwrap_err().to_string().contains("not prepared"));
    let first = prepared(&corpus);
    let mut notes = Vec::new();
    corpus.prepare(&Fetched::default(), 2, &mut |note| notes.push(note.to_owned()), &mut |_| (), &|| false).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    assert_eq!(corpus.open().unwrap().fingerprint(), first.fingerprint());
    fs::write(directory.path().join("text.txt"), "red fish, blue fish.\n".repeat(200)).unwrap();
    assert_ne!(prepared(&corpus).fingerprint(), first.fingerprint());
}

#[test]
fn another_tokenizer_or_setting_is_another_directory() {
    let directory = tempfile::tempdir().unwrap();
    let characters = corpus(directory.path(), TokenizerConfig::Characters);
    let mut without_ends = characters.clone();
    without_ends.text.end_with_eos = false;
    let pairs = corpus(directory.path(), TokenizerConfig::BytePair(BytePairConfig { vocab_size: 270, sample_megabytes: 1 }));
    let directories = [&characters, &without_ends, &pairs].map(|corpus| corpus.directory().unwrap());
    assert!(directories[0] != directories[1] && directories[1] != directories[2] && directories[0] != directories[2]);
    assert!(directories.iter().all(|directory| directory.file_name().unwrap().to_str().unwrap().starts_with("mine-")));
}

#[test]
fn a_tokenizer_without_the_wanted_token_is_refused_with_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokenizer.json");
    let merges = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":null,"post_processor":null,
        "decoder":null,"model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,
        "fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{"a":0},"merges":[]}}"#;
    fs::write(&path, merges).unwrap();
    let corpus = corpus(directory.path(), TokenizerConfig::File(path.display().to_string()));
    let error = corpus.prepare(&Fetched::default(), 1, &mut |_| (), &mut |_| (), &|| false).unwrap_err();
    assert!(error.to_string().contains("data.text.end_with_eos"), "{error}");
}
