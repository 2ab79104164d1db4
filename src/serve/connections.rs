//! Connections: taking them on, a limit on how many there are and on how slowly a request may begin, and letting them go in the end.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Open at once; others wait until one is closed.
const MOST_CONNECTIONS: usize = 1024;
/// From the beginning of a connection, or from the end of an answer, to the end of the next request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);
/// How long answers may take to reach their clients when the server has stopped.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// After a failure to take a connection on, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `until` is over, and what was begun then.
pub(super) async fn serve(listener: TcpListener, router: Router, until: impl Future<Output = ()>) {
    let (stop, stopped) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((connection, _)) => {
                    let work = speak(connection, router.clone(), stopped.clone());
                    connections.spawn(async move {
                        work.await;
                        drop(slot);
                    });
                }
                Err(_) => sleep(PAUSE).await,
            }
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = accept => {}
        () = until => {}
    }
    drop(listener);
    let _ = stop.send(true);
    let _ = timeout(LAST_PATIENCE, async { while connections.join_next().await.is_some() {} }).await;
}

/// HTTP with one client.
async fn speak(connection: TcpStream, router: Router, mut stopped: watch::Receiver<bool>) {
    let _ = connection.set_nodelay(true); // tokens are small
    let service = TowerToHyperService::new(router);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    let mut exchange = std::pin::pin!(builder.serve_connection(TokioIo::new(connection), service));
    tokio::select! {
        _ = &mut exchange => return,
        _ = stopped.changed() => exchange.as_mut().graceful_shutdown(),
    }
    let _ = exchange.await; // a client that breaks the connection off is none of our errors
}
