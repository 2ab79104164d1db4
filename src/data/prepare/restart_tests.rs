//! Kills, stops, full disks and changed corpora: what is kept, what is made again, and that the bytes are the same in the end.

use super::run::Preparation;
use super::test_corpus::{Codepoints, corpus, files, settings};
use super::*;
use crate::data::Prepared;
use crate::data::Split;
use crate::storage::FileSystem;
use crate::storage::testing::{Answer, FailingFileSystem, Failure, ForgetfulFileSystem, InterceptedFileSystem, Operation};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

/// A preparation of `sources` on another file system; the real directory of the corpus is only read.
fn prepare_on(
    fs: &dyn FileSystem,
    sources: &Sources,
    settings: &PrepareSettings,
    tokenizer: &Codepoints,
) -> Result<(Prepared, Vec<Event>)> {
    let mut events = Vec::new();
    let preparation = Preparation { fs, settings, sources, tokenizer, dir: Path::new("/p"), threads: 2 };
    match preparation.run(&mut |event| events.push(event), &|| false)? {
        Outcome::Finished(prepared) => Ok((*prepared, events)),
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
        let is_record =
            call.operation == Operation::Rename && call.to.is_some_and(|to| to.starts_with("/p/units") && !to.ends_with("plan.json"));
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
    for patience in [0, 30, 200, 300] {
        let asked = AtomicU64::new(0);
        let stop = || asked.fetch_add(1, Ordering::Relaxed) >= patience;
        let (settings, tokenizer) = (small(), Codepoints::default());
        let preparation =
            Preparation { fs: &fs, settings: &settings, sources: &sources, tokenizer: &tokenizer, dir: Path::new("/p"), threads: 2 };
        num_stops += u64::from(matches!(preparation.run(&mut |_| {}, &stop).unwrap(), Outcome::Stopped));
        assert!(!fs.list(Path::new("/p")).unwrap().iter().any(|entry| entry.name.starts_with('.')));
    }
    assert_eq!(num_stops, 4);
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
