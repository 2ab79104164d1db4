//! Claims about the pool of threads.

use super::*;
use std::thread::sleep;

#[test]
fn every_thread_runs_its_part_exactly_once_in_every_round() {
    for num_threads in [0, 1, 2, 5] {
        let threads = Threads::new(num_threads).unwrap();
        let counts: Vec<AtomicUsize> = (0..threads.num_threads()).map(|_| AtomicUsize::new(0)).collect();
        for _ in 0..1000 {
            threads.run(|index, total| {
                assert_eq!(total, counts.len());
                counts[index].fetch_add(1, Ordering::Relaxed);
            });
        }
        assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1000), "{counts:?}");
    }
}

#[test]
fn threads_that_have_fallen_asleep_wake_up() {
    let threads = Threads::new(3).unwrap();
    for _ in 0..5 {
        sleep(ACTIVE_WAIT * 20);
        let count = AtomicUsize::new(0);
        threads.run(|index, _| {
            // The caller falls asleep too.
            sleep(ACTIVE_WAIT * 20 * index as u32);
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.into_inner(), 3);
    }
}

#[test]
fn a_panic_on_any_thread_reaches_the_caller_and_the_pool_lives_on() {
    let threads = Threads::new(3).unwrap();
    for guilty in 0..3 {
        let outcome = crate::error::catch_panic(|| threads.run(|index, _| assert_ne!(index, guilty, "thread {index}")));
        let payload = outcome.unwrap_err();
        assert!(payload.downcast_ref::<String>().unwrap().contains(&format!("thread {guilty}")));
        let count = AtomicUsize::new(0);
        threads.run(|_, _| _ = count.fetch_add(1, Ordering::Relaxed));
        assert_eq!(count.into_inner(), 3);
    }
}

#[test]
fn a_call_while_the_pool_is_at_work_runs_on_its_caller_alone() {
    let threads = Threads::new(2).unwrap();
    let count = AtomicUsize::new(0);
    threads.run(|_, _| {
        threads.run(|index, total| {
            assert_eq!((index, total), (0, 1));
            count.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert_eq!(count.into_inner(), 2);
}

#[test]
fn callers_on_several_threads_share_a_pool() {
    let threads = Threads::new(2).unwrap();
    let count = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let call = || threads.for_each(0..100, |_| _ = count.fetch_add(1, Ordering::Relaxed));
            scope.spawn(move || (0..50).for_each(|_| call()));
        }
    });
    assert_eq!(count.into_inner(), 3 * 50 * 100);
}

#[test]
fn a_drain_is_over_when_nothing_is_left_whoever_took_it() {
    let threads = Threads::new(3).unwrap();
    for length in (0..1000).chain([100_000]) {
        let (chunks, count) = (Chunks::new(length, 3), AtomicUsize::new(0));
        threads.drain(|| {
            while let Some(chunk) = chunks.take() {
                count.fetch_add(chunk.len(), Ordering::Relaxed);
            }
        });
        assert_eq!(count.into_inner(), length);
    }
}

#[test]
fn a_drain_does_not_wait_for_a_thread_that_sleeps() {
    let threads = Threads::new(2).unwrap();
    for _ in 0..100 {
        // The worker can come at any time from here on, or not at all; what it would borrow is gone with each round.
        let text = String::from("borrowed");
        threads.drain(|| assert_eq!(text, "borrowed"));
        drop(text);
    }
}

#[test]
fn items_that_borrow_parts_of_a_slice_are_each_taken_once() {
    let threads = Threads::new(3).unwrap();
    let mut numbers = vec![0; 1000];
    threads.for_each(numbers.chunks_mut(7).enumerate(), |(index, chunk)| chunk.fill(index + 1));
    assert!(numbers.iter().enumerate().all(|(at, &number)| number == at / 7 + 1));
}

#[test]
fn shares_and_chunks_cover_everything_once() {
    for (length, num_threads) in [(0, 3), (1, 3), (10, 3), (12, 4), (5, 1)] {
        let shares: Vec<usize> = (0..num_threads).flat_map(|index| share(length, index, num_threads)).collect();
        assert_eq!(shares, (0..length).collect::<Vec<_>>());
        let sizes: Vec<usize> = (0..num_threads).map(|index| share(length, index, num_threads).len()).collect();
        assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
        let chunks = Chunks::new(length, num_threads);
        let taken: Vec<usize> = std::iter::from_fn(|| chunks.take()).flatten().collect();
        assert_eq!(taken, (0..length).collect::<Vec<_>>());
    }
}
