//! What the tests of a preparation share: a tokenizer, a corpus, and looks into a directory.

use super::*;
use crate::data::Prepared;
use crate::data::Split;
use crate::data::documents::{BadRecords, DocumentSettings};
use crate::random::Random;
use crate::storage::FileSystem;
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::{TempDir, tempdir};

/// A token a character; counts the documents that it was given, and refuses `#`.
#[derive(Default)]
pub(super) struct Codepoints {
    pub num_calls: AtomicU64,
    /// Makes another tokenizer of it.
    pub name: &'static str,
}

pub(super) const BEGIN: u32 = 0;
pub(super) const END: u32 = 1;
pub(super) const VOCAB_SIZE: usize = 0x11_0000;

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

pub(super) fn settings() -> PrepareSettings {
    let documents = DocumentSettings { text_field: "text".to_owned(), document_separator: None, bad_records: BadRecords::Stop };
    let held_out = HeldOut::DocumentsPercent(20.0);
    PrepareSettings { documents, held_out, begin_with: Some(BEGIN), end_with: Some(END), unit_bytes: 3000 }
}

/// Documents of random length, a few long ones, in several files; and their texts in order.
pub(super) fn corpus(seed: u64) -> (TempDir, Sources, Vec<String>) {
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

pub(super) fn text(random: &mut Random) -> String {
    let length = if random.below(20) == 0 { 1000 } else { 1 + random.below(100) };
    (0..length).map(|_| ['a', 'é', '\n', '😀', 'z'][random.below(5) as usize]).chain(['.']).collect()
}

pub(super) fn prepare_in(dir: &Path, sources: &Sources, settings: &PrepareSettings, threads: usize) -> Result<Prepared> {
    match prepare(settings, sources, &Codepoints::default(), dir, threads, &mut |_| {}, &|| false)? {
        Outcome::Finished(prepared) => Ok(*prepared),
        Outcome::Stopped => Err(Error::ours("stopped")),
    }
}

/// The documents of a split, begin and end taken off.
pub(super) fn documents(prepared: &Prepared, split: Split) -> Vec<String> {
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
pub(super) fn files(fs: &dyn FileSystem, dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = fs.list(dir).unwrap().into_iter().map(|entry| entry.name).filter(|name| name != plan::LOCK);
    names.map(|name| (name.clone(), crate::storage::read_capped(fs, &dir.join(name), 1 << 24).unwrap())).collect()
}

#[track_caller]
pub(super) fn assert_refused<T: std::fmt::Debug>(result: Result<T>, parts: &[&str]) {
    let message = result.unwrap_err().to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
}
