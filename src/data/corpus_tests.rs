//! Claims about the corpus of an experiment, on small files.

use super::*;
use crate::config::{BadRecords, BytePairConfig, HeldOut};
use crate::data::Split;
use std::fs;

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
    assert!(corpus.up_to_date(&|| false).unwrap().is_some());
    write("zyxwvutsrqponmlkjihgfedcba ,.\n");
    assert!(corpus.up_to_date(&|| false).unwrap().is_none());
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

/// A corpus of `.jsonl` in `directory`: one line for each text, and a share of the documents held out.
fn lines(directory: &Path, lines: &str, held_out: HeldOut) -> Corpus {
    fs::write(directory.join("lines.jsonl"), lines).unwrap();
    let mut corpus = corpus(directory, TokenizerConfig::BytePair(BytePairConfig { vocab_size: 270, sample_megabytes: 1 }));
    corpus.text.source = TextSource::Files(vec![directory.join("lines.jsonl").display().to_string()]);
    corpus.text.held_out = held_out;
    corpus
}

fn stories(count: usize) -> String {
    (0..count).map(|number| format!("\"story {number}: the cat sat on the mat, and nobody knew why\"\n")).collect()
}

/// What is prepared, and what was noted.
fn noted(corpus: &Corpus) -> (Prepared, Vec<String>) {
    let mut notes = Vec::new();
    let outcome = corpus.prepare(&Fetched::default(), 2, &mut |note| notes.push(note.to_owned()), &mut |_| (), &|| false).unwrap();
    let Outcome::Finished(prepared) = outcome else { panic!("stopped") };
    (*prepared, notes)
}

#[test]
fn of_too_few_documents_the_end_of_each_is_held_out_and_that_is_said_and_recorded() {
    let end = HeldOut::EndOfEachDocumentPercent(10.0);
    for count in [1, 3, 40] {
        let directory = tempfile::tempdir().unwrap();
        let corpus = lines(directory.path(), &stories(count), HeldOut::DocumentsPercent(1.0));
        let (prepared, notes) = noted(&corpus);
        let manifest = prepared.manifest();
        assert_eq!((manifest.train.documents, manifest.validation.documents), (count as u64, count as u64));
        assert_eq!(manifest.held_out, Some(end));
        let said = "held out: the last 10 percent of each document, not 1 percent of the documents: of ";
        assert!(notes[0].starts_with(said) && notes[1] == "learning byte pairs", "said before it takes time: {notes:?}");
        assert_eq!(corpus.open().unwrap().fingerprint(), prepared.fingerprint());
        assert!(noted(&corpus).1.is_empty(), "it is prepared");
    }
}

#[test]
fn enough_documents_are_held_out_as_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let (prepared, notes) = noted(&lines(directory.path(), &stories(400), HeldOut::DocumentsPercent(10.0)));
    assert_eq!(prepared.manifest().held_out, Some(HeldOut::DocumentsPercent(10.0)));
    assert!(!notes.iter().any(|note| note.contains("held out")), "{notes:?}");
}

#[test]
fn what_is_held_out_follows_the_corpus_when_it_grows() {
    let directory = tempfile::tempdir().unwrap();
    let few = noted(&lines(directory.path(), &stories(3), HeldOut::DocumentsPercent(10.0))).0;
    let many = noted(&lines(directory.path(), &stories(400), HeldOut::DocumentsPercent(10.0))).0;
    assert_eq!(few.dir(), many.dir());
    assert_eq!(many.manifest().held_out, Some(HeldOut::DocumentsPercent(10.0)));
    assert_ne!(few.fingerprint(), many.fingerprint());
}

#[test]
fn a_corpus_that_cannot_be_split_is_refused_before_the_tokenizer_is_learned_and_leaves_nothing() {
    let records = "{\"instruction\": \"a\", \"response\": \"b\"}\n".repeat(1000);
    let (end, share) = (HeldOut::EndOfEachDocumentPercent(1.0), HeldOut::DocumentsPercent(1.0));
    let cases = [
        (
            &*records,
            share,
            "there is no document in the files of the corpus: 1000 bad records, 1000 of them without the field of the text; there are \"instruction\", \"response\"\nhint: --set data.text.text_field=",
        ),
        ("\" \"\n", share, "there is no document"),
        (
            "\"ab\"\n",
            share,
            "no document is held out at 10 percent: there are only 1\nhint: --set data.text.held_out.end_of_each_document_percent=50",
        ),
        ("\"ab\"\n", end, "no document is held out at 1 percent"),
    ];
    for (content, held_out, expected) in cases {
        let directory = tempfile::tempdir().unwrap();
        let mut corpus = lines(directory.path(), content, held_out);
        corpus.text.bad_records = BadRecords::Skip;
        let mut notes = Vec::new();
        let error = corpus.prepare(&Fetched::default(), 2, &mut |note| notes.push(note.to_owned()), &mut |_| (), &|| false).unwrap_err();
        assert!(error.exit_status() == 2 && error.to_string().contains(expected), "{error}");
        assert!(notes.is_empty() && !directory.path().join("prepared").exists(), "{notes:?}");
    }
}

#[test]
fn a_turned_bit_in_a_shard_is_repaired_by_the_next_preparation() {
    let directory = tempfile::tempdir().unwrap();
    let corpus = lines(directory.path(), &stories(400), HeldOut::DocumentsPercent(10.0));
    let first = noted(&corpus).0;
    let path = first.dir().join("train-00000.tokens");
    let content = fs::read(&path).unwrap();
    let mut damaged = content.clone();
    damaged[1000] ^= 1;
    fs::write(&path, damaged).unwrap();
    assert!(corpus.up_to_date(&|| false).unwrap().is_none());
    let mut reasons = Vec::new();
    let mut watch = |event| {
        if let Event::StartedOver { reason } = event {
            reasons.push(reason)
        }
    };
    corpus.prepare(&Fetched::default(), 2, &mut |_| (), &mut watch, &|| false).unwrap();
    assert!(reasons.len() == 1 && reasons[0].contains("train-00000.tokens is damaged"), "{reasons:?}");
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!(corpus.open().unwrap().fingerprint(), first.fingerprint());
}
