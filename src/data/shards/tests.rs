//! Round trips, positions across borders, files of other programs, and damage.

use super::*;
use crate::random::Random;
use crate::storage::DISK;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

/// Documents of random length, the empty one included.
fn documents(seed: u64, count: u64, vocab_size: usize) -> Vec<Vec<u32>> {
    let mut random = Random::derive(seed, "shard test", 0);
    let mut document = || (0..random.below(9)).map(|_| random.below(vocab_size as u64) as u32).collect();
    (0..count).map(|_| document()).collect()
}

fn write(path: &Path, vocab_size: usize, documents: &[Vec<u32>]) -> ShardRecord {
    let mut writer = ShardWriter::create(&DISK, path, vocab_size).unwrap();
    for some in documents.chunks(3) {
        let mut packed = PackedDocuments::new(vocab_size);
        some.iter().for_each(|document| packed.push(document).unwrap());
        writer.write(&packed).unwrap();
    }
    writer.finish().unwrap()
}

/// Shards of so many documents each, and what they hold.
fn shards(counts: &[u64], vocab_size: usize) -> (TempDir, TokenShards, Vec<Vec<u32>>) {
    let dir = tempdir().unwrap();
    let all: Vec<Vec<Vec<u32>>> = counts.iter().enumerate().map(|(at, &count)| documents(at as u64, count, vocab_size)).collect();
    let records: Vec<ShardRecord> =
        all.iter().enumerate().map(|(at, some)| write(&dir.path().join(format!("{at}.tokens")), vocab_size, some)).collect();
    let opened = TokenShards::of_records(dir.path(), &records, vocab_size).unwrap();
    (dir, opened, all.concat())
}

fn read(shards: &TokenShards, start: u64, length: usize) -> crate::Result<Vec<u32>> {
    let mut out = vec![u32::MAX; length];
    shards.read(start, &mut out).map(|()| out)
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: crate::Result<T>, parts: &[&str]) {
    let message = result.unwrap_err().to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
}

#[test]
fn every_window_across_every_border_is_what_was_written() {
    for vocab_size in [7, 1 << 16, (1 << 16) + 1] {
        let (_dir, shards, documents) = shards(&[5, 0, 1, 20, 3], vocab_size);
        let tokens = documents.concat();
        assert_eq!(shards.num_tokens(), tokens.len() as u64);
        for start in 0..=tokens.len() {
            for end in start..=tokens.len() {
                assert_eq!(read(&shards, start as u64, end - start).unwrap(), tokens[start..end]);
            }
        }
        shards.verify().unwrap();
    }
}

#[test]
fn long_reads_go_beyond_one_block() {
    let (_dir, shards, documents) = shards(&[20_000, 10_000], 70_000);
    let tokens = documents.concat();
    assert_eq!(read(&shards, 3, tokens.len() - 3).unwrap(), tokens[3..]);
}

#[test]
fn the_index_finds_every_document_the_empty_ones_too() {
    let (_dir, shards, documents) = shards(&[50, 0, 50], 100);
    assert_eq!(shards.num_documents(), Some(100));
    for (index, document) in documents.iter().enumerate() {
        let range = shards.document(index as u64).unwrap();
        assert_eq!(read(&shards, range.start, (range.end - range.start) as usize).unwrap(), *document, "document {index}");
    }
    assert!(shards.document(100).is_err());
}

#[test]
fn ids_take_two_bytes_up_to_a_vocabulary_of_65536_and_four_beyond() {
    let dir = tempdir().unwrap();
    let bytes = |vocab_size| write(&dir.path().join("a"), vocab_size, &[vec![0; 1000]]).bytes;
    assert_eq!(bytes(1 << 16) + 2000, bytes((1 << 16) + 1));
}

#[test]
fn a_range_beyond_the_end_is_refused() {
    let (_dir, shards, documents) = shards(&[9], 10);
    let length = documents.concat().len() as u64;
    assert_refused(read(&shards, length - 1, 2), &[&format!("of {length}")]);
    assert_refused(read(&shards, u64::MAX, 2), &["tokens"]);
    assert!(read(&shards, length, 0).unwrap().is_empty());
}

#[test]
fn an_id_outside_the_vocabulary_is_never_packed() {
    let mut packed = PackedDocuments::new(10);
    assert_refused(packed.push(&[3, 10]), &["token 1 of a document is 10", "ends at 10"]);
    assert_eq!(packed.num_documents(), 0);
}

/// The error when a shard of three documents is changed so.
fn damage(change: impl Fn(&mut Vec<u8>)) -> crate::Result<()> {
    let dir = tempdir().unwrap();
    let record = write(&dir.path().join("a.tokens"), 10, &documents(1, 30, 10));
    let mut bytes = fs::read(dir.path().join("a.tokens")).unwrap();
    change(&mut bytes);
    fs::write(dir.path().join("a.tokens"), bytes).unwrap();
    TokenShards::of_records(dir.path(), &[record], 10)?.verify()
}

#[test]
fn damage_is_noticed_and_the_file_named() {
    assert_refused(damage(|bytes| bytes.truncate(bytes.len() - 1)), &["a.tokens", "does not end as it was written"]);
    assert_refused(damage(|bytes| bytes.push(0)), &["a.tokens", "does not end as it was written"]);
    assert_refused(damage(|bytes| bytes[40] ^= 1), &["a.tokens", "hash"]);
    assert_refused(damage(|bytes| bytes[0] ^= 1), &["a.tokens", "does not begin like a token shard"]);
    assert_refused(damage(|bytes| bytes[8] = 2), &["a.tokens", "version 2", "up to 1"]);
    assert_refused(damage(|bytes| bytes[12] = 4), &["a.tokens", "header"]);
    assert_refused(damage(|bytes| bytes.rotate_left(8)), &["a.tokens"]);
    assert_refused(damage(Vec::clear), &["a.tokens"]);
    for back in 1..=32 {
        let changed = damage(|bytes| {
            let at = bytes.len() - back;
            bytes[at] ^= 0x80;
        });
        assert_refused(changed, &["a.tokens", "does not end as it was written"]);
    }
}

#[test]
fn no_flipped_bit_and_no_cut_panics_or_goes_unnoticed() {
    let length = {
        let dir = tempdir().unwrap();
        write(&dir.path().join("a"), 10, &documents(1, 30, 10)).bytes as usize
    };
    for at in 0..length {
        assert!(damage(|bytes| bytes[at] ^= 1 << (at % 8)).is_err(), "bit of byte {at}");
        assert!(damage(|bytes| bytes.truncate(at)).is_err(), "cut at {at}");
    }
}

#[test]
fn a_file_that_shrinks_after_it_was_opened_is_an_error_and_not_the_end_of_the_process() {
    let (dir, shards, documents) = shards(&[2000], 10);
    fs::File::options().write(true).open(dir.path().join("0.tokens")).unwrap().set_len(100).unwrap();
    assert_refused(read(&shards, 0, documents.concat().len()), &["0.tokens", "cut short"]);
}

#[test]
fn shards_of_another_vocabulary_and_absent_ones_are_refused() {
    let dir = tempdir().unwrap();
    let record = write(&dir.path().join("a.tokens"), 10, &[vec![1]]);
    assert_refused(TokenShards::of_records(dir.path(), std::slice::from_ref(&record), 11), &["a.tokens", "vocabulary of 10, not 11"]);
    fs::remove_file(dir.path().join("a.tokens")).unwrap();
    assert_refused(TokenShards::of_records(dir.path(), &[record], 10), &["a.tokens", "does not exist"]);
}

fn file(dir: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn llm_c(magic: i32, version: i32, num_tokens: i32, tokens: &[u8]) -> Vec<u8> {
    let mut header = vec![0i32; 256];
    header[..3].copy_from_slice(&[magic, version, num_tokens]);
    header.into_iter().flat_map(i32::to_le_bytes).chain(tokens.iter().copied()).collect()
}

#[test]
fn files_of_other_programs_open_as_they_are_and_together() {
    let dir = tempdir().unwrap();
    let two: Vec<u8> = [5u16, 50_256, 7].into_iter().flat_map(u16::to_le_bytes).collect();
    let four: Vec<u8> = [8u32, 128_000].into_iter().flat_map(u32::to_le_bytes).collect();
    let nano_gpt = file(&dir, "train.bin", &two);
    let fine_web = file(&dir, "fineweb_train_000001.bin", &llm_c(20_240_520, 1, 3, &two));
    let llama = file(&dir, "llama.bin", &llm_c(20_240_801, 7, 2, &four));
    let shards = TokenShards::open_files(&[nano_gpt, fine_web, llama], 128_256).unwrap();
    assert_eq!((shards.num_tokens(), shards.num_documents()), (8, None));
    assert_eq!(read(&shards, 0, 8).unwrap(), [5, 50_256, 7, 5, 50_256, 7, 8, 128_000]);
    shards.verify().unwrap();
    assert!(shards.document(0).is_err());
}

#[test]
fn foreign_files_that_lie_are_refused() {
    let dir = tempdir().unwrap();
    let open = |content: &[u8]| TokenShards::open_files(&[file(&dir, "x.bin", content)], 50_257).and_then(|shards| shards.verify());
    assert_refused(open(&llm_c(20_240_520, 1, 4, &[0; 6])), &["x.bin", "promises 4 tokens", "1030 bytes"]);
    assert_refused(open(&llm_c(20_240_520, 1, -1, &[0; 6])), &["x.bin", "promises 4294967295 tokens"]);
    assert_refused(open(&llm_c(20_240_520, 2, 3, &[0; 6])), &["x.bin", "version 2"]);
    assert_refused(open(&llm_c(20_240_801, 1, 3, &[0; 12])), &["x.bin", "version 1"]);
    assert_refused(open(b"odd"), &["x.bin", "3 bytes", "nanoGPT"]);
    assert_refused(open(b""), &["x.bin", "0 bytes"]);
    assert_refused(open(&[1, 0, 255, 255]), &["token 1 of", "x.bin is 65535", "50257"]);
    assert_refused(TokenShards::open_files(&[dir.path().join("absent.bin")], 10), &["absent.bin", "does not exist"]);
}
