//! Batches made ahead on a thread of their own, so that whoever trains never waits for a disk. Owns the thread and the count of time that
//! was spent waiting; what a batch holds is its source's business, and its position decides alone what it is.

use super::Batch;
use crate::{Error, Result};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// Batches that wait to be taken.
const AHEAD: usize = 4;

/// Makes the batch at a position.
pub type Source = Arc<dyn Fn(u64) -> Result<Batch> + Send + Sync>;

/// The batches of a source from a position on.
pub struct Prefetch {
    source: Source,
    position: u64,
    made: Option<Receiver<Result<Batch>>>,
    waited: Duration,
}

impl Prefetch {
    /// From position 0 on; nothing is made before the first is asked for.
    pub fn new(source: Source) -> Self {
        Self { source, position: 0, made: None, waited: Duration::ZERO }
    }

    /// The position of the next batch.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Goes to a position; what was made ahead is thrown away.
    pub fn seek(&mut self, position: u64) {
        if position != self.position {
            self.made = None; // its thread ends when it cannot hand over
            self.position = position;
        }
    }

    /// How long batches were waited for, in all.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The batch at the position, which moves on by one, unless the source fails.
    ///
    /// # Errors
    /// Those of the source, and a thread that cannot be started.
    pub fn next_batch(&mut self) -> Result<Batch> {
        let begin = Instant::now();
        let made = match self.made.take() {
            Some(made) => made,
            None => self.start()?,
        };
        let batch = made.recv().map_err(|_| Error::ours("the thread that makes batches ended"))??;
        self.made = Some(made);
        self.position += 1;
        self.waited += begin.elapsed();
        Ok(batch)
    }

    fn start(&self) -> Result<Receiver<Result<Batch>>> {
        let (give, made) = sync_channel(AHEAD);
        let (source, first) = (Arc::clone(&self.source), self.position);
        let work = move || {
            for position in first.. {
                let batch = source(position);
                let is_last = batch.is_err();
                if give.send(batch).is_err() || is_last {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("batches".into()).spawn(work)?;
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered() -> Prefetch {
        Prefetch::new(Arc::new(|position| match position {
            1000 => Err(Error::input("no batch 1000")),
            _ => Ok(Batch { inputs: vec![position as i64], targets: vec![0], rows: 1, seq_len: 1 }),
        }))
    }

    #[test]
    fn batches_come_in_order_from_wherever_it_was_sent() {
        let mut batches = numbered();
        let mut take = |count: usize| -> Vec<i64> { (0..count).map(|_| batches.next_batch().unwrap().inputs[0]).collect() };
        assert_eq!(take(10), (0..10).collect::<Vec<_>>());
        batches.seek(3);
        assert_eq!(batches.next_batch().unwrap().inputs, [3]);
        batches.seek(500);
        assert_eq!((batches.next_batch().unwrap().inputs[0], batches.position()), (500, 501));
        assert!(batches.waited() > Duration::ZERO);
    }

    #[test]
    fn an_error_of_the_source_arrives_where_the_batch_would_be_and_again() {
        let mut batches = numbered();
        batches.seek(999);
        assert_eq!(batches.next_batch().unwrap().inputs, [999]);
        for _ in 0..2 {
            assert!(batches.next_batch().unwrap_err().to_string().contains("no batch 1000"));
        }
        assert_eq!(batches.position(), 1000);
    }
}
