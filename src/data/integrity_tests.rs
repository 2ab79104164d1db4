//! Claims about the look at every byte of a prepared directory.

use super::*;
use crate::config::HeldOut;
use crate::data::documents::{BadRecords, DocumentSettings, Sources};
use crate::data::prepare::{Outcome, PrepareSettings, prepare};
use crate::tokenizer::Tokenizer;
use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

/// Many small shards in `dir`/p.
fn prepared(dir: &Path) -> Prepared {
    let lines: Vec<String> = (0..400).map(|number| format!("\"story {number} of the cat\"\n")).collect();
    let stories = dir.join("stories.jsonl");
    fs::write(&stories, lines.concat()).unwrap();
    let tokenizer = Tokenizer::characters_of([Ok(lines.concat())]).unwrap();
    let settings = PrepareSettings {
        documents: DocumentSettings { text_field: "text".into(), document_separator: None, bad_records: BadRecords::Stop },
        held_out: HeldOut::DocumentsPercent(20.0),
        begin_with: None,
        end_with: None,
        unit_bytes: 2000,
    };
    match prepare(&settings, &Sources::find(&[stories]).unwrap(), &tokenizer, &dir.join("p"), 2, &mut |_| {}, &|| false).unwrap() {
        Outcome::Finished(prepared) => *prepared,
        Outcome::Stopped => panic!("stopped"),
    }
}

/// Turns the last bit of the token in the middle of a shard: an id stays an id, and header and end stay as they were.
fn flip_a_bit(path: &PathBuf) {
    let mut content = fs::read(path).unwrap();
    let middle = content.len() / 3 / 2 * 2;
    content[middle] ^= 1;
    fs::write(path, content).unwrap();
}

#[test]
fn a_bit_that_turned_in_any_shard_is_found_and_named_again_and_again() {
    for (split, at) in [("train", 0), ("train", 3), ("validation", 2)] {
        let dir = tempfile::tempdir().unwrap();
        let prepared = prepared(dir.path());
        let path = prepared.dir().join(format!("{split}-{at:05}.tokens"));
        flip_a_bit(&path);
        let opened = Prepared::open(prepared.dir()).unwrap(); // what is looked at every time does not see it
        let mut check = IntegrityCheck::new(&opened);
        for _ in 0..2 {
            let error = check.wait().unwrap_err();
            let message = error.to_string();
            let expected = format!("the token shard {} is damaged: its hash is not the recorded one", path.display());
            assert!(error.exit_status() == 2 && message.contains(&expected) && message.contains("just prepare-data"), "{message}");
        }
    }
}

#[test]
fn a_whole_directory_is_looked_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let prepared = prepared(dir.path());
    let mut check = IntegrityCheck::new(&prepared);
    check.look().unwrap();
    check.wait().unwrap();
    flip_a_bit(&prepared.dir().join("train-00000.tokens"));
    check.look().unwrap();
    check.wait().unwrap();
}

#[test]
fn a_stop_ends_the_look_behind_the_piece_at_hand() {
    let dir = tempfile::tempdir().unwrap();
    let prepared = prepared(dir.path());
    let asked = Cell::new(0);
    let stop = || asked.replace(asked.get() + 1) == 3;
    assert!(!prepared.verify(&stop).unwrap());
    assert_eq!(asked.get(), 4);
    assert!(prepared.verify(&|| false).unwrap());
    drop(IntegrityCheck::new(&prepared)); // never begun
}
