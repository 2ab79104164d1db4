//! Where prompts become tokens: away from the thread that speaks with clients, the short ones and the long ones each by themselves, so
//! that nobody waits for a long text but who sent one. What waits for a client that has left is dropped.

use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Threads that encode: one for short requests, one for long ones.
pub(super) const THREADS: usize = 2;
/// The text of a short request.
const SHORT_BYTES: usize = 16 << 10;

/// Both queues.
#[derive(Debug)]
pub(super) struct Encoding {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

impl Encoding {
    pub fn new() -> Self {
        let one_at_a_time = || Arc::new(Semaphore::new(1));
        Self { short: one_at_a_time(), long: one_at_a_time() }
    }

    /// Does `work`, which is about `num_bytes` of text, when its turn comes. Whoever drops the future before gives the turn up; later,
    /// `work` is told so when it asks whether it is still wanted. None if it panics.
    pub async fn run<T: Send + 'static>(&self, num_bytes: usize, work: impl FnOnce(&dyn Fn() -> bool) -> T + Send + 'static) -> Option<T> {
        let queue = if num_bytes <= SHORT_BYTES { &self.short } else { &self.long };
        let turn = Arc::clone(queue).acquire_owned().await.ok()?;
        let client = Arc::new(());
        let of_client = Arc::downgrade(&client);
        let done = spawn_blocking(move || {
            let outcome = work(&|| of_client.strong_count() > 0);
            drop(turn);
            outcome
        });
        let outcome = done.await.ok();
        drop(client);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::thread::yield_now;
    use tokio::runtime::{Builder, Runtime};

    fn runtime() -> Runtime {
        Builder::new_current_thread().max_blocking_threads(THREADS).build().unwrap()
    }

    #[test]
    fn a_short_text_does_not_wait_for_long_ones_and_what_nobody_waits_for_is_not_encoded() {
        let (encoding, count) = (Arc::new(Encoding::new()), Arc::new(AtomicUsize::new(0)));
        let (release, released) = channel::<()>();
        let long = |work: Box<dyn FnOnce() + Send>| {
            let (encoding, count) = (Arc::clone(&encoding), Arc::clone(&count));
            tokio::spawn(async move {
                let work = move |_: &dyn Fn() -> bool| {
                    work();
                    count.fetch_add(1, Ordering::SeqCst)
                };
                encoding.run(SHORT_BYTES + 1, work).await
            })
        };
        runtime().block_on(async {
            let first = long(Box::new(move || released.recv().unwrap()));
            tokio::task::yield_now().await;
            let left = (0..4).map(|_| long(Box::new(|| ()))).collect::<Vec<_>>();
            let last = long(Box::new(|| ()));
            assert_eq!(encoding.run(SHORT_BYTES, |_| "done").await, Some("done"), "while the long one is still at work");
            for client in &left {
                client.abort();
            }
            for client in left {
                assert!(client.await.is_err());
            }
            release.send(()).unwrap();
            assert_eq!((first.await.unwrap(), last.await.unwrap()), (Some(0), Some(1)));
        });
        assert_eq!(count.load(Ordering::SeqCst), 2, "of six");
    }

    #[test]
    fn work_learns_that_its_client_has_left() {
        let encoding = Arc::new(Encoding::new());
        runtime().block_on(async {
            let (begun, beginning) = tokio::sync::oneshot::channel();
            let (ended, end) = tokio::sync::oneshot::channel();
            let own = Arc::clone(&encoding);
            let client = tokio::spawn(async move {
                let work = move |is_wanted: &dyn Fn() -> bool| {
                    begun.send(is_wanted()).unwrap();
                    while is_wanted() {
                        yield_now();
                    }
                    ended.send(()).unwrap();
                };
                own.run(1, work).await
            });
            assert!(beginning.await.unwrap());
            client.abort();
            end.await.unwrap();
            assert_eq!(encoding.run(1, |_| 7).await, Some(7), "and its turn is over");
            assert_eq!(encoding.run(1, |_| panic!("on purpose")).await, None::<()>);
            assert_eq!(encoding.run(1, |_| 7).await, Some(7));
        });
    }
}
