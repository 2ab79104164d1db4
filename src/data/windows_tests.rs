//! Claims about training sequences, on a corpus whose token at each place is the place.

use super::*;
use std::collections::BTreeSet;

/// Tokens 0, 1, 2 ... as a headerless file of 16-bit numbers.
fn corpus(tokens: u16) -> (tempfile::TempDir, TokenShards) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.bin");
    std::fs::write(&path, (0..tokens).flat_map(u16::to_le_bytes).collect::<Vec<_>>()).unwrap();
    let shards = TokenShards::open_files(&[path], 1 << 16).unwrap();
    (directory, shards)
}

fn starts(batch: &Batch) -> Vec<i64> {
    batch.inputs.chunks(batch.seq_len).map(|row| row[0]).collect()
}

#[test]
fn a_row_is_consecutive_tokens_and_its_targets_are_the_next_ones() {
    let (_directory, shards) = corpus(100);
    let batch = Windows::new(shards, 8, 1).unwrap().batch(3, 2).unwrap();
    for (inputs, targets) in batch.inputs.chunks(8).zip(batch.targets.chunks(8)) {
        assert!((0..8).all(|index| inputs[index] == inputs[0] + index as i64 && targets[index] == inputs[index] + 1));
    }
}

#[test]
fn an_epoch_has_every_sequence_once_and_the_next_has_another_order() {
    let (_directory, shards) = corpus(1000);
    let windows = Windows::new(shards, 16, 7).unwrap();
    let epoch = |number: u64| -> Vec<i64> {
        let samples = number * windows.count()..(number + 1) * windows.count();
        samples.map(|sample| windows.batch(sample, 1).unwrap().inputs[0]).collect()
    };
    let (first, second) = (epoch(0), epoch(1));
    for starts in [&first, &second] {
        let distinct: BTreeSet<i64> = starts.iter().copied().collect();
        assert_eq!(distinct.len() as u64, windows.count());
        let remainders: BTreeSet<i64> = starts.iter().map(|start| start % 16).collect();
        assert_eq!(remainders.len(), 1, "sequences of one epoch do not overlap");
    }
    assert_ne!(first, second);
    assert_eq!(windows.count(), 61); // (1000 - 16) / 16
}

#[test]
fn batches_cut_the_same_order_into_rows() {
    let (_directory, shards) = corpus(500);
    let windows = Windows::new(shards, 8, 2).unwrap();
    let of_six: Vec<i64> = (0..2).flat_map(|index| starts(&windows.batch(index, 6).unwrap())).collect();
    let of_four: Vec<i64> = (0..3).flat_map(|index| starts(&windows.batch(index, 4).unwrap())).collect();
    assert_eq!(of_six, of_four);
}

#[test]
fn measuring_takes_evenly_spread_sequences_in_order() {
    let (_directory, shards) = corpus(1 + 8 * 10);
    let windows = Windows::new(shards, 8, 2).unwrap();
    let all: Vec<i64> = windows.in_order(usize::MAX, 4).unwrap().iter().flat_map(starts).collect();
    assert_eq!(all, (0..10).map(|index| 8 * index).collect::<Vec<_>>());
    let some: Vec<i64> = windows.in_order(5, 2).unwrap().iter().flat_map(starts).collect();
    assert_eq!(some, [0, 16, 32, 48, 64]);
}

#[test]
fn a_corpus_of_one_sequence_gives_that_and_a_shorter_one_an_error() {
    let (_directory, shards) = corpus(9);
    assert_eq!(starts(&Windows::new(shards, 8, 1).unwrap().batch(5, 2).unwrap()), [0, 0]);
    let (_directory, shards) = corpus(8);
    let error = Windows::new(shards, 8, 1).unwrap_err();
    assert_eq!(error.exit_status(), 2);
    assert!(error.to_string().contains("8 tokens"), "{error}");
}
