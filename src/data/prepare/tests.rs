//! What is in a prepared directory, that threads and kills change no byte of it, and what is refused.

use super::held_out::Parts;
use super::plan::UNITS;
use super::run::Preparation;
use super::*;
use crate::data::documents::{BadRecords, DocumentSettings};
use crate::data::shards::TokenShards;
use crate::data::{Manifest, Split};
use crate::random::Random;
use crate::storage::FileSystem;
use crate::storage::testing::{Answer, FailingFileSystem, Failure, ForgetfulFileSystem, InterceptedFileSystem, Operation};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::{TempDir, tempdir};

/// A token a character; counts the documents that it was given, and refuses `#`.
#[derive(Default)]
struct Codepoints {
    num_calls: AtomicU64,
    /// Makes another tokenizer of it.
    name: &'static str,
}

const BEGIN: u32 = 0;
const END: u32 = 1;
const VOCAB_SIZE: usize = 0x11_0000;

impl Encode for Codepoints {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.num_calls.fetch_add(1, Ordering::Relaxed);
        if text.contains('#') {
            return Err(Error::input("'#' is not in the vocabulary"));
        }
        Ok(text.chars().map(u32::from).collect())
    }

    fn vocab_size(&self) -> usize {
        VOCAB_SIZE
    }

    fn to_json(&self) -> Result<String> {
        Ok(format!("{{\"name\": {:?}}}", self.name))
    }
}

fn settings() -> PrepareSettings {
    let documents = DocumentSettings { text_field: "text".to_owned(), document_separator: None, bad_records: BadRecords::Stop };
    let held_out = HeldOut::DocumentsPercent(20.0);
    PrepareSettings { documents, held_out, begin_with: Some(BEGIN), end_with: Some(END), unit_bytes: 3000 }
}

/// Documents of random length, a few long ones, in several files; and their texts in order.
fn corpus(seed: u64) -> (TempDir, Sources, Vec<String>) {
    let dir = tempdir().unwrap();
    let mut random = Random::derive(seed, "prepare test", 0);
    let mut texts = Vec::new();
    for number in 0..3 {
        let some: Vec<String> = (0..100).map(|_| text(&mut random)).collect();
        let lines: Vec<String> = some.iter().map(|text| serde_json::json!({ "text": text }).to_string()).collect();
        fs::write(dir.path().join(format!("{number}.jsonl")), lines.join("\n")).unwrap();
        texts.extend(some);
    }
    let sources = Sources::find(&[dir.path().to_owned()]).unwrap();
    (dir, sources, texts)
}

fn text(random: &mut Random) -> String {
    let length = if random.below(20) == 0 { 1000 } else { 1 + random.below(100) };
    (0..length).map(|_| ['a', 'é', '\n', '😀', 'z'][random.below(5) as usize]).chain(['.']).collect()
}

fn prepare_in(dir: &Path, sources: &Sources, settings: &PrepareSettings, threads: usize) -> Result<Prepared> {
    match prepare(settings, sources, &Codepoints::default(), dir, threads, &mut |_| {}, &|| false)? {
        Outcome::Finished(prepared) => Ok(prepared),
        Outcome::Stopped => Err(Error::ours("stopped")),
    }
}

/// The documents of a split, begin and end taken off.
fn documents(prepared: &Prepared, split: Split) -> Vec<String> {
    let shards = prepared.shards(split).unwrap();
    let read = |index| {
        let range = shards.document(index).unwrap();
        let mut tokens = vec![0; (range.end - range.start) as usize];
        shards.read(range.start, &mut tokens).unwrap();
        assert_eq!((tokens[0], tokens[tokens.len() - 1]), (BEGIN, END));
        tokens[1..tokens.len() - 1].iter().map(|&token| char::from_u32(token).unwrap()).collect()
    };
    (0..shards.num_documents().unwrap()).map(read).collect()
}

/// Every file that a reader looks at, with its content.
fn files(fs: &dyn FileSystem, dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = fs.list(dir).unwrap().into_iter().map(|entry| entry.name).filter(|name| name != plan::LOCK);
    names.map(|name| (name.clone(), crate::storage::read_capped(fs, &dir.join(name), 1 << 24).unwrap())).collect()
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T>, parts: &[&str]) {
    let message = result.unwrap_err().to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
}

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
    let settings = PrepareSettings { documents: documents_settings, unit_bytes: 5 << 20, held_out: HeldOut::DocumentsPercent(0.0), ..settings() };
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
    assert_eq!((documents(&prepared, Split::Train), documents(&prepared, Split::Validation)), (vec!["0123456".to_owned()], vec!["789".to_owned()]));
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

/// A preparation of `sources` on another file system; the real directory of the corpus is only read.
fn prepare_on(fs: &dyn FileSystem, sources: &Sources, settings: &PrepareSettings, tokenizer: &Codepoints) -> Result<(Prepared, Vec<Event>)> {
    let mut events = Vec::new();
    let preparation = Preparation { fs, settings, sources, tokenizer, dir: Path::new("/p"), threads: 2 };
    match preparation.run(&mut |event| events.push(event), &|| false)? {
        Outcome::Finished(prepared) => Ok((prepared, events)),
        Outcome::Stopped => Err(Error::ours("stopped")),
    }
}

fn forgetful() -> ForgetfulFileSystem {
    let fs = ForgetfulFileSystem::new();
    crate::storage::create_dir_durably(&fs, Path::new("/p")).unwrap();
    fs
}

fn kept_units(events: &[Event]) -> u64 {
    let advanced = events.iter().filter_map(|event| match event {
        Event::Advanced(progress) => Some(progress.kept_units),
        Event::StartedOver { .. } => None,
    });
    advanced.max().unwrap_or(0)
}

fn small() -> PrepareSettings {
    PrepareSettings { unit_bytes: 6000, ..settings() }
}

#[test]
fn killed_at_any_call_and_started_again_it_gives_the_same_bytes() {
    let (_corpus, sources, _) = corpus(4);
    let whole = FailingFileSystem::new(forgetful());
    prepare_on(&whole, &sources, &small(), &Codepoints::default()).unwrap();
    let (expected, num_calls) = (files(whole.inner(), Path::new("/p")), whole.num_calls());
    assert!(num_calls > 50);
    for call in 0..num_calls {
        let fs = FailingFileSystem::new(forgetful());
        fs.fail_after(call, Failure::DiskIsGone);
        let killed = prepare_on(&fs, &sources, &small(), &Codepoints::default());
        fs.heal();
        fs.inner().power_cut(call);
        let is_whole = Prepared::open_on(fs.inner(), Path::new("/p")).is_ok();
        assert!(killed.is_err() || is_whole, "call {call}: acknowledged and lost");
        let (_, events) = prepare_on(&fs, &sources, &small(), &Codepoints::default()).unwrap();
        assert!(!events.iter().any(|event| matches!(event, Event::StartedOver { .. })), "call {call}: {events:?}");
        assert!(files(fs.inner(), Path::new("/p")) == expected, "call {call}");
    }
}

#[test]
fn units_that_are_done_are_not_encoded_again() {
    let (_corpus, sources, texts) = corpus(5);
    let num_records = AtomicU64::new(0);
    // The disk fails when the fourth record gets its name.
    let fs = InterceptedFileSystem::new(forgetful(), move |call| {
        let is_record = call.operation == Operation::Rename && call.to.is_some_and(|to| to.starts_with("/p/units") && !to.ends_with("plan.json"));
        match is_record && num_records.fetch_add(1, Ordering::Relaxed) + 1 == 4 {
            true => Answer::Fail(std::io::Error::from_raw_os_error(5)),
            false => Answer::Pass,
        }
    });
    assert!(prepare_on(&fs, &sources, &small(), &Codepoints::default()).is_err());
    let tokenizer = Codepoints::default();
    let (prepared, events) = prepare_on(&fs, &sources, &small(), &tokenizer).unwrap();
    assert_eq!(kept_units(&events), 3);
    let kept: u64 = [Split::Train, Split::Validation]
        .into_iter()
        .flat_map(|split| &prepared.split(split).shards)
        .filter(|shard| ["00000", "00001", "00002"].iter().any(|unit| shard.file.contains(unit)))
        .map(|shard| shard.documents)
        .sum();
    assert!(kept > 0);
    assert_eq!(tokenizer.num_calls.load(Ordering::Relaxed), texts.len() as u64 - kept);
}

/// A directory whose preparation was stopped by a failing disk behind the second unit.
fn half_done(sources: &Sources) -> FailingFileSystem<ForgetfulFileSystem> {
    for call in (0..).step_by(5) {
        let fs = FailingFileSystem::new(forgetful());
        fs.fail_after(call, Failure::DiskIsGone);
        let outcome = prepare_on(&fs, sources, &small(), &Codepoints::default());
        assert!(outcome.is_err(), "it was done before there were two units");
        fs.heal();
        if fs.exists(Path::new("/p/units/00001.json")).unwrap() {
            return fs;
        }
    }
    unreachable!()
}

#[test]
fn a_unit_whose_shard_is_damaged_is_made_again_and_the_others_are_kept() {
    let (_corpus, sources, _) = corpus(6);
    let fs = half_done(&sources);
    let expected = {
        let fs = forgetful();
        prepare_on(&fs, &sources, &small(), &Codepoints::default()).unwrap();
        files(&fs, Path::new("/p"))
    };
    for name in ["train-00000.tokens", "units/00000.json"] {
        let fs = half_done(&sources);
        let path = Path::new("/p").join(name);
        let mut content = crate::storage::read_capped(&fs, &path, 1 << 20).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        crate::storage::write_atomically(&fs, &path, &content).unwrap();
        let (_, events) = prepare_on(&fs, &sources, &small(), &Codepoints::default()).unwrap();
        assert!(files(&fs, Path::new("/p")) == expected, "{name}");
        assert!(kept_units(&events) >= 1, "{name}");
    }
    let (_, events) = prepare_on(&fs, &sources, &small(), &Codepoints::default()).unwrap();
    assert!(kept_units(&events) >= 2);
}

fn reasons(events: &[Event]) -> Vec<&str> {
    let reasons = events.iter().filter_map(|event| match event {
        Event::StartedOver { reason } => Some(reason.as_str()),
        Event::Advanced(_) => None,
    });
    reasons.collect()
}

#[test]
fn other_settings_another_tokenizer_or_another_corpus_start_over_and_say_so() {
    let (corpus, sources, _) = corpus(7);
    let begin = || half_done(&sources);
    let fresh = |settings: &PrepareSettings, sources: &Sources, tokenizer: &Codepoints| {
        let fs = forgetful();
        prepare_on(&fs, sources, settings, tokenizer).unwrap();
        files(&fs, Path::new("/p"))
    };
    let other = PrepareSettings { end_with: None, ..small() };
    let fs = begin();
    let (_, events) = prepare_on(&fs, &sources, &other, &Codepoints::default()).unwrap();
    assert_eq!((reasons(&events), kept_units(&events)), (vec!["the settings or the tokenizer are others"], 0));
    assert!(files(&fs, Path::new("/p")) == fresh(&other, &sources, &Codepoints::default()));

    let tokenizer = Codepoints { name: "another", ..Codepoints::default() };
    let fs = begin();
    let (_, events) = prepare_on(&fs, &sources, &small(), &tokenizer).unwrap();
    assert_eq!(reasons(&events), ["the settings or the tokenizer are others"]);

    let fs = begin();
    fs::write(corpus.path().join("1.jsonl"), "\"changed\"\n").unwrap();
    let changed = Sources::find(&[corpus.path().to_owned()]).unwrap();
    let (_, events) = prepare_on(&fs, &changed, &small(), &Codepoints::default()).unwrap();
    assert_eq!(reasons(&events), ["the files of the corpus have changed"]);
    assert!(files(&fs, Path::new("/p")) == fresh(&small(), &changed, &Codepoints::default()));
}

#[test]
fn a_corpus_that_changed_behind_the_same_length_and_time_is_noticed_by_its_hash() {
    let (corpus, sources, _) = corpus(8);
    let fs = half_done(&sources);
    let path = corpus.path().join("0.jsonl");
    let changed = fs::read_to_string(&path).unwrap().replace('z', "y");
    fs::write(&path, changed).unwrap();
    let (_, events) = prepare_on(&fs, &sources, &small(), &Codepoints::default()).unwrap();
    assert_eq!(reasons(&events), ["the documents are not those of the units that are done"]);
    let fresh = forgetful();
    prepare_on(&fresh, &sources, &small(), &Codepoints::default()).unwrap();
    assert!(files(&fs, Path::new("/p")) == files(&fresh, Path::new("/p")));
}

#[test]
fn a_directory_that_is_prepared_is_left_alone_until_something_differs() {
    let (_corpus, sources, _) = corpus(9);
    let fs = forgetful();
    let (first, _) = prepare_on(&fs, &sources, &small(), &Codepoints::default()).unwrap();
    let tokenizer = Codepoints::default();
    let (second, events) = prepare_on(&fs, &sources, &small(), &tokenizer).unwrap();
    assert_eq!((&second, events.len(), tokenizer.num_calls.load(Ordering::Relaxed)), (&first, 0, 0));
    fs.remove_file(Path::new("/p/train-00001.tokens")).unwrap();
    let (third, events) = prepare_on(&fs, &sources, &small(), &Codepoints::default()).unwrap();
    assert!(reasons(&events)[0].contains("train-00001.tokens does not exist"), "{events:?}");
    assert_eq!(third, first);
}

#[test]
fn a_stop_keeps_whole_units_and_the_next_start_goes_on() {
    let (_corpus, sources, texts) = corpus(10);
    let fs = forgetful();
    let expected = {
        let fs = forgetful();
        prepare_on(&fs, &sources, &small(), &Codepoints::default()).unwrap();
        files(&fs, Path::new("/p"))
    };
    let mut num_stops = 0;
    for patience in [0, 30, 300, 420, 500, 580] {
        let asked = AtomicU64::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) >= patience;
        let (settings, tokenizer) = (small(), Codepoints::default());
        let preparation = Preparation { fs: &fs, settings: &settings, sources: &sources, tokenizer: &tokenizer, dir: Path::new("/p"), threads: 2 };
        num_stops += u64::from(matches!(preparation.run(&mut |_| {}, &stop).unwrap(), Outcome::Stopped));
        assert!(!fs.list(Path::new("/p")).unwrap().iter().any(|entry| entry.name.starts_with('.')));
    }
    assert!(num_stops >= 3, "{num_stops}");
    let tokenizer = Codepoints::default();
    let (_, events) = prepare_on(&fs, &sources, &small(), &tokenizer).unwrap();
    assert!(kept_units(&events) > 0 && tokenizer.num_calls.load(Ordering::Relaxed) < texts.len() as u64);
    assert!(files(&fs, Path::new("/p")) == expected);
}

#[test]
fn a_full_disk_is_an_error_and_leaves_no_half_written_shard() {
    let (_corpus, sources, _) = corpus(11);
    for call in (0..80).step_by(3) {
        let fs = FailingFileSystem::new(forgetful());
        fs.fail_after(call, Failure::DiskStaysFull);
        let error = prepare_on(&fs, &sources, &small(), &Codepoints::default()).unwrap_err();
        assert!(crate::storage::is_out_of_space(&error), "{error}");
        fs.heal();
        let names: Vec<String> = fs.list(Path::new("/p")).unwrap().into_iter().map(|entry| entry.name).collect();
        assert!(names.iter().all(|name| !name.starts_with(".tmp-")), "{names:?}");
    }
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
    let lines: String = (0..30_000).map(|line| if line % 10_000 == 7_000 { "\"#\"\n".to_owned() } else { format!("\"document {line}\"\n") }).collect();
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
    assert!(prepared.manifest().skipped.reasons[0].contains("a.jsonl:2: this is no JSON"));
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
