//! Connections: taking them on, speaking HTTP with each, and letting them go in the end.

use super::admission::{Admission, Connection, Phase};
use super::socket::Socket;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How long answers may take to reach their clients when the server has stopped.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// After a failure to take a connection on, such as too many open files.
const PAUSE: Duration = Duration::from_millis(20);

/// Serves `router` until `until` is over, and what was begun then.
pub(super) async fn serve(listener: TcpListener, router: Router, admission: Arc<Admission>, until: impl Future<Output = ()>) {
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // Who cannot be taken on is closed at once.
                    if let Some(connection) = admission.admit(peer.ip()) {
                        let work = speak(stream, connection.clone(), router.clone(), Arc::clone(&admission), stopped.clone());
                        connection.set_task(connections.spawn(work));
                    }
                }
                Err(_) => {
                    admission.make_room();
                    sleep(PAUSE).await;
                }
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
async fn speak(stream: TcpStream, connection: Connection, router: Router, admission: Arc<Admission>, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true); // tokens are small
    let service = Watched { router: TowerToHyperService::new(router), connection: connection.clone() };
    let socket = Socket::new(stream, connection, admission.limits.write_patience);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(admission.limits.head_patience);
    let mut exchange = std::pin::pin!(builder.serve_connection(TokioIo::new(socket), service));
    tokio::select! {
        _ = &mut exchange => return,
        _ = stopped.changed() => exchange.as_mut().graceful_shutdown(),
    }
    let _ = exchange.await; // a client that breaks the connection off is none of our errors
}

/// The routes for one connection, whose phase they keep up; handlers find it among a request's extensions.
struct Watched {
    router: TowerToHyperService<Router>,
    connection: Connection,
}

impl Service<Request<Incoming>> for Watched {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.connection.enter(Phase::Reading);
        request.extensions_mut().insert(self.connection.clone());
        let (answer, connection) = (self.router.call(request), self.connection.clone());
        Box::pin(async move {
            let answer = answer.await?;
            connection.enter(Phase::Working);
            Ok(answer.map(|body| AnswerBody { body, connection }))
        })
    }
}

/// The body of an answer, with whose end the connection is idle again.
struct AnswerBody {
    body: Body,
    connection: Connection,
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.connection.enter(Phase::Idle);
    }
}
