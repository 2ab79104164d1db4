//! What is in a prepared directory, that threads change no byte of it, and what is refused.

use super::held_out::Parts;
use super::plan::UNITS;
use super::test_corpus::{Codepoints, assert_refused, corpus, documents, files, prepare_in, settings};
use super::*;
use crate::data::Prepared;
use crate::data::documents::{BadRecords, DocumentSettings};
use crate::data::shards::TokenShards;
use crate::data::{Manifest, Split};
use std::fs;
use std::path::PathBuf;
use tempfile::{TempDir, tempdir};

#[test]
fn every_document_is_in_one_split_once_in_order_and_equal_ones_are_on_one_side() {
    for seed in 0..5 {
        let (_corpus, sources, texts) = corpus(seed);
        let dir = tempdir().unwrap();
        let prepared = prepare_in(dir.path(), &sources, &settings(), 2).unwrap();
        let (train, validation) = (documents(&prepared, Split::Train), documents(&prepared, Split::Validation));
        let is_held_out = |text: &&String| validation.contains(text);
        assert_eq!(train, texts.iter().filter(|text| !is_held_out(text)).cloned().collect::<Vec<_>>());
        assert_eq!(validation, texts.iter().filter(is_held_out).cloned().collect::<Vec<_>>());
        let share = validation.len() as f64 / texts.len() as f64;
        assert!((0.1..0.3).contains(&share), "{share}");
    }
}

#[test]
fn the_manifest_counts_what_the_shards_hold() {
    let (_corpus, sources, texts) = corpus(1);
    let dir = tempdir().unwrap();
    let prepared = prepare_in(dir.path(), &sources, &settings(), 2).unwrap();
    let Manifest { train, validation, .. } = prepared.manifest();
    assert!(train.shards.len() > 3 && validation.shards.len() > 3, "{} {}", train.shards.len(), validation.shards.len());
    assert_eq!(train.documents + validation.documents, texts.len() as u64);
    assert_eq!(train.text_bytes + validation.text_bytes, texts.iter().map(String::len).sum::<usize>() as u64);
    let num_characters: usize = texts.iter().map(|text| text.chars().count()).sum();
    assert_eq!(train.tokens + validation.tokens, (num_characters + 2 * texts.len()) as u64);
    for (split, record) in [(Split::Train, train), (Split::Validation, validation)] {
        let shards = TokenShards::open(dir.path(), split).unwrap();
        assert_eq!((shards.num_tokens(), shards.num_documents()), (record.tokens, Some(record.documents)));
        shards.verify().unwrap();
    }
    let names: Vec<String> = files(&DISK, dir.path()).into_keys().collect();
    assert!(names.contains(&"train-00000.tokens".to_owned()) && names.contains(&"tokenizer.json".to_owned()), "{names:?}");
    assert!(!dir.path().join(UNITS).exists());
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let (_corpus, sources, _) = corpus(2);
    let prepared = |threads, settings: &PrepareSettings| {
        let dir = tempdir().unwrap();
        prepare_in(dir.path(), &sources, settings, threads).unwrap();
        files(&DISK, dir.path())
    };
    let whole = PrepareSettings { unit_bytes: UNIT_BYTES, ..settings() };
    for settings in [settings(), whole] {
        let one = prepared(1, &settings);
        assert!([0, 2, 4, 13].into_iter().all(|threads| prepared(threads, &settings) == one));
    }
}

#[test]
fn many_chunks_and_rounds_keep_the_order() {
    let dir = tempdir().unwrap();
    let texts: Vec<String> = (0..4000).map(|number| format!("{number} ").repeat(600)).collect();
    fs::write(dir.path().join("a.txt"), texts.join("--")).unwrap();
    let sources = Sources::find(&[dir.path().join("a.txt")]).unwrap();
    let documents_settings = DocumentSettings { document_separator: Some("--".to_owned()), ..settings().documents };
    let settings =
        PrepareSettings { documents: documents_settings, unit_bytes: 5 << 20, held_out: HeldOut::DocumentsPercent(0.0), ..settings() };
    let prepared = prepare_in(&dir.path().join("prepared"), &sources, &settings, 3).unwrap();
    assert!(documents(&prepared, Split::Train) == texts);
    assert_eq!(prepared.manifest().train.shards.len(), 3);
}

#[test]
fn the_end_of_each_document_is_held_out_at_a_character_and_both_parts_are_documents() {
    let (_corpus, sources, texts) = corpus(3);
    let dir = tempdir().unwrap();
    let settings = PrepareSettings { held_out: HeldOut::EndOfEachDocumentPercent(10.0), ..settings() };
    let prepared = prepare_in(dir.path(), &sources, &settings, 2).unwrap();
    let (train, mut validation) = (documents(&prepared, Split::Train), documents(&prepared, Split::Validation).into_iter());
    for (text, train) in texts.iter().zip(train) {
        let num_characters = text.chars().count();
        let num_held_out = (num_characters as f64 / 10.0).round() as usize;
        let held_out = if num_held_out > 0 { validation.next().unwrap() } else { String::new() };
        assert_eq!((format!("{train}{held_out}"), held_out.chars().count()), (text.clone(), num_held_out));
    }
    assert!(validation.next().is_none());
}

#[test]
fn a_corpus_of_one_document_is_split_in_it() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("a.txt"), "0123456789").unwrap();
    let sources = Sources::find(&[dir.path().join("a.txt")]).unwrap();
    let settings = PrepareSettings { held_out: HeldOut::EndOfEachDocumentPercent(30.0), ..settings() };
    let prepared = prepare_in(&dir.path().join("p"), &sources, &settings, 2).unwrap();
    assert_eq!(
        (documents(&prepared, Split::Train), documents(&prepared, Split::Validation)),
        (vec!["0123456".to_owned()], vec!["789".to_owned()])
    );
}

#[test]
fn the_share_of_held_out_documents_is_the_one_asked_for() {
    let texts: Vec<String> = (0..20_000).map(|number| format!("document {number}")).collect();
    for percent in [0.0, 1.0, 10.0, 50.0] {
        let is_held_out = |text: &&String| HeldOut::DocumentsPercent(percent).parts(text, &blake3::hash(text.as_bytes())).train.is_none();
        let count = texts.iter().filter(is_held_out).count() as f64;
        let expected = 200.0 * percent;
        let deviation = (expected * (1.0 - percent / 100.0)).sqrt();
        assert!((count - expected).abs() <= 5.0 * deviation, "{count} of 20000 at {percent} percent");
    }
    let parts = HeldOut::EndOfEachDocumentPercent(99.9).parts("a", &blake3::hash(b"a"));
    assert_eq!(parts, Parts { train: None, validation: Some("a") });
}

fn one_file(content: &str) -> (TempDir, Sources) {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("a.jsonl"), content).unwrap();
    let sources = Sources::find(&[dir.path().join("a.jsonl")]).unwrap();
    (dir, sources)
}

#[test]
fn a_corpus_from_which_a_split_gets_nothing_is_refused() {
    let refused = |content: &str, held_out: HeldOut, parts: &[&str]| {
        let (dir, sources) = one_file(content);
        assert_refused(prepare_in(&dir.path().join("p"), &sources, &PrepareSettings { held_out, ..settings() }, 2), parts);
    };
    refused("\"\"\n\" \"", HeldOut::DocumentsPercent(1.0), &["there is no document"]);
    refused("\"one\"", HeldOut::DocumentsPercent(0.001), &["no document is held out at 0.001 percent", "end_of_each_document_percent"]);
    refused("\"one\"", HeldOut::DocumentsPercent(99.999), &["all documents are held out"]);
    refused("\"one\"", HeldOut::EndOfEachDocumentPercent(1.0), &["no document is held out", "short"]);
    for percent in [-1.0, 100.0, f64::NAN, f64::INFINITY] {
        refused("\"one\"", HeldOut::DocumentsPercent(percent), &["held_out is", "less than 100"]);
    }
    let (dir, sources) = one_file("\"one\"");
    let none_held_out = PrepareSettings { held_out: HeldOut::DocumentsPercent(0.0), ..settings() };
    let prepared = prepare_in(&dir.path().join("p"), &sources, &none_held_out, 2).unwrap();
    assert_eq!(prepared.shards(Split::Validation).unwrap().num_tokens(), 0);
}

#[test]
fn a_text_that_the_tokenizer_refuses_is_named_by_its_place_whatever_the_threads() {
    let lines: String =
        (0..30_000).map(|line| if line % 10_000 == 7_000 { "\"#\"\n".to_owned() } else { format!("\"document {line}\"\n") }).collect();
    let (dir, sources) = one_file(&lines);
    for threads in [1, 4] {
        let refused = prepare_in(&dir.path().join("p"), &sources, &settings(), threads);
        assert_refused(refused, &["a.jsonl:7001: '#' is not in the vocabulary"]);
    }
}

#[test]
fn skipped_records_are_in_the_manifest_after_a_restart_too() {
    let (dir, sources) = one_file("\"one\"\nbad\n\"two\"\n\"three\"\n17\n\"four\"");
    let documents = DocumentSettings { bad_records: BadRecords::Skip, ..settings().documents };
    let settings = PrepareSettings { documents, unit_bytes: 20, held_out: HeldOut::DocumentsPercent(0.0), ..settings() };
    let prepared = prepare_in(&dir.path().join("p"), &sources, &settings, 1).unwrap();
    assert_eq!((prepared.manifest().skipped.records, prepared.manifest().train.documents), (2, 4));
    assert_eq!(prepared.manifest().skipped.without_field, 0);
    assert!(prepared.manifest().skipped.reasons[0].contains("a.jsonl:2: this is no JSON"));
}

#[test]
fn a_preparation_that_ends_in_an_error_of_the_user_leaves_no_directory_and_a_failed_disk_only_what_is_worth_it() {
    let lines: String = (0..3000).map(|line| if line == 2900 { "\"#\"\n".to_owned() } else { format!("\"document {line}\"\n") }).collect();
    let (dir, sources) = one_file(&lines);
    let place = dir.path().join("data/p");
    let small = PrepareSettings { unit_bytes: 2000, ..settings() };
    assert_refused(prepare_in(&place, &sources, &small, 2), &["a.jsonl:2901: '#' is not in the vocabulary"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the corpus");
    fs::create_dir_all(dir.path().join("data")).unwrap();
    assert!(prepare_in(&place, &sources, &small, 2).is_err());
    assert!(dir.path().join("data").exists() && !place.exists(), "what was there before stays");
    let stopped_after = |patience: u64| {
        let asked = std::sync::atomic::AtomicU64::new(0);
        let stop = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= patience;
        prepare(&small, &sources, &Codepoints::default(), &place, 1, &mut |_| {}, &stop).unwrap();
        place.exists()
    };
    assert!(!stopped_after(0) && stopped_after(1500), "units that are done are kept");
}

#[test]
fn files_of_somebody_else_are_never_touched() {
    let (dir, sources) = one_file("\"one\"");
    assert_refused(prepare_in(dir.path(), &sources, &settings(), 1), &["is no directory of prepared data", "a.jsonl", "empty"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn two_preparations_of_one_directory_are_refused() {
    let (_corpus, sources, _) = corpus(12);
    let dir = tempdir().unwrap();
    let _held = Lock::acquire(&dir.path().join(plan::LOCK)).unwrap();
    assert_refused(prepare_in(dir.path(), &sources, &settings(), 1), &["is being written by process", "the other program that prepares"]);
}

fn prepared_directory() -> (TempDir, Prepared) {
    let (_corpus, sources, _) = corpus(13);
    let dir = tempdir().unwrap();
    let prepared = prepare_in(dir.path(), &sources, &settings(), 2).unwrap();
    (dir, prepared)
}

#[test]
fn a_prepared_directory_that_is_not_whole_is_refused_by_name() {
    let change = |name: &str, change: &dyn Fn(PathBuf)| {
        let (dir, _) = prepared_directory();
        change(dir.path().join(name));
        Prepared::open(dir.path())
    };
    let rewrite = |from: &'static str, to: &'static str| {
        change("prepared.json", &|path| fs::write(&path, fs::read_to_string(&path).unwrap().replacen(from, to, 1)).unwrap())
    };
    assert_refused(change("prepared.json", &|path| fs::remove_file(path).unwrap()), &["holds no prepared data", "prepare-data"]);
    assert_refused(change("train-00000.tokens", &|path| fs::remove_file(path).unwrap()), &["train-00000.tokens does not exist"]);
    assert_refused(change("validation-00001.tokens", &|path| fs::write(path, "x").unwrap()), &["validation-00001.tokens has 1 bytes"]);
    assert_refused(change("tokenizer.json", &|path| fs::write(path, "{}").unwrap()), &["tokenizer.json is not the tokenizer"]);
    assert_refused(rewrite("\"format\": 1", "\"format\": 2"), &["prepared.json", "format is 2"]);
    assert_refused(rewrite("\"skipped\"", "\"unknown\": 1, \"skipped\""), &["prepared.json", "unknown field `unknown`"]);
    assert_refused(rewrite("train-00000.tokens", "../train-00000.tokens"), &["\"../train-00000.tokens\" does not name a file"]);
    assert_refused(rewrite("}", ""), &["prepared.json"]);
}

#[test]
fn the_fingerprint_is_of_tokens_and_tokenizer_and_not_of_names_and_times() {
    let (_dir, prepared) = prepared_directory();
    let (_other_dir, again) = prepared_directory();
    assert_ne!(prepared.manifest().sources, again.manifest().sources);
    assert_eq!(prepared.fingerprint(), again.fingerprint());
    let (_corpus, sources, _) = corpus(13);
    let dir = tempdir().unwrap();
    let other = prepare_in(dir.path(), &sources, &PrepareSettings { end_with: None, ..settings() }, 2).unwrap();
    assert_ne!(prepared.fingerprint(), other.fingerprint());
}
