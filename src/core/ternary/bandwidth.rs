//! How fast memory is read: the limit of everything that reads each weight once.

use super::threads::{Threads, share};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What is read at a time.
const PIECE_BYTES: usize = 4 << 20;

/// GB/s of adding up `region` again and again for some time, three times at least. Of the repetitions of each piece the fastest counts,
/// which other programs disturbed least.
pub fn measure(region: &[u8], threads: &Threads, time: Duration) -> f64 {
    let pieces: Vec<&[u8]> = region.chunks_exact(PIECE_BYTES).collect();
    let (start, mut fewest) = (Instant::now(), vec![Duration::MAX; pieces.len()]);
    let mut repetitions = 0;
    while repetitions < 3 || start.elapsed() < time {
        for (piece, fewest) in pieces.iter().zip(&mut fewest) {
            let start = Instant::now();
            threads.run(|index, num_threads| {
                black_box(sum(&piece[share(PIECE_BYTES, index, num_threads)]));
            });
            *fewest = start.elapsed().min(*fewest);
        }
        repetitions += 1;
    }
    (pieces.len() * PIECE_BYTES) as f64 / fewest.iter().sum::<Duration>().as_secs_f64() / 1e9
}

/// The sum of all bytes, eight at a time: two streams, which is faster than one or four, in as many sums as vectors need.
fn sum(bytes: &[u8]) -> u64 {
    const STEP: usize = 128;
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut sums = [[0u64; STEP / 8]; 2];
    for (first, second) in first.as_chunks::<STEP>().0.iter().zip(second.as_chunks::<STEP>().0) {
        for (sums, step) in sums.iter_mut().zip([first, second]) {
            for (sum, eight) in sums.iter_mut().zip(step.as_chunks::<8>().0) {
                *sum = sum.wrapping_add(u64::from_le_bytes(*eight));
            }
        }
    }
    sums.as_flattened().iter().fold(0, |sum, next| sum.wrapping_add(*next))
}
