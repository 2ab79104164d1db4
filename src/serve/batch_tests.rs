//! Claims about the model's thread that no request can bring about: what a failed pass leaves behind.

use super::{BatchLimits, BatchThread};
use crate::inference::test_folder::{random_tensors, small, write_folder};
use crate::inference::{Engine, GenerationOptions, LoadOptions, SamplingOptions};
use crate::serve::metrics::Metrics;
use crate::serve::places::Places;
use crate::serve::sequence::{Event, Job, What};
use crate::tokenizer::Tokenizer;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

fn engine() -> Arc<Engine> {
    let dir = write_folder(&small(), &random_tensors(&small(), 11));
    fs::write(dir.path().join("tokenizer.json"), Tokenizer::characters("abcdefgh", 37).unwrap().to_json().unwrap()).unwrap();
    Arc::new(Engine::load(dir.path(), &LoadOptions { num_threads: 1, ..LoadOptions::default() }).unwrap())
}

fn job(prompt: &[u32], max_new_tokens: usize, places: &Places) -> (Job, UnboundedReceiver<Event>) {
    let (events, receiver) = unbounded_channel();
    let options = GenerationOptions { max_new_tokens, stop: Vec::new(), sampling: SamplingOptions::GREEDY, num_log_probabilities: None };
    let place = places.take(1).unwrap().remove(0);
    (Job { prompt: prompt.into(), options, choice: 0, events, arrived: Instant::now(), place }, receiver)
}

/// The last event; the channel is closed behind it.
fn last(mut events: UnboundedReceiver<Event>) -> What {
    let all: Vec<Event> = std::iter::from_fn(|| events.blocking_recv()).collect();
    all.into_iter().last().unwrap().what
}

#[test]
fn a_pass_that_fails_is_told_to_all_who_took_part_and_the_next_goes_well() {
    let (engine, metrics, places) = (engine(), Arc::new(Metrics::default()), Places::new(3));
    let limits = BatchLimits { parallel: 2, context: 64, batch_tokens: 8 };
    let thread = BatchThread::start(engine, limits, Arc::clone(&metrics)).unwrap();
    let inbox = thread.inbox();
    // No request gets past the check of its tokens; the model refuses the whole pass for this one.
    let (bad, bad_events) = job(&[4, 5, 99], 2, &places);
    inbox.send(bad).unwrap();
    assert!(matches!(last(bad_events), What::Failed(_)));
    assert_eq!((metrics.failures.load(Ordering::Relaxed), metrics.active.load(Ordering::Relaxed), places.num_taken()), (1, 0, 0));
    let (good, good_events) = job(&[4, 5, 6], 5, &places);
    inbox.send(good).unwrap();
    assert!(matches!(last(good_events), What::Over { num_tokens: 1..=5, .. }));
    thread.join();
    assert!(!inbox.is_alive());
    let (late, late_events) = job(&[4], 1, &places);
    assert!(inbox.send(late).is_err());
    drop(late_events);
    assert_eq!(places.num_taken(), 0, "a job that nobody takes gives its place back");
}
