//! The server as a whole: from a loaded model to a listening port, and from a request to stop to an orderly end.

use super::admission::Admission;
use super::batch::{BatchLimits, BatchThread};
use super::metrics::Metrics;
use super::request::Limits;
use super::routes::{App, router};
use super::{ServeOptions, connections, encoding};
use crate::inference::Engine;
use crate::run::StopSignal;
use crate::{Context, Result};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

/// How often is looked whether to stop, and whether all is done.
const LOOK: Duration = Duration::from_millis(20);

/// A server whose port is open.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    admission: Arc<Admission>,
    model: BatchThread,
    grace: Duration,
}

impl Server {
    /// Opens the port and starts the model's thread.
    ///
    /// # Errors
    /// The user's: options out of their range, an address that cannot be listened on. Ours: the system starts no thread.
    pub fn start(engine: Engine, options: &ServeOptions) -> Result<Self> {
        options.validate()?;
        let opening = || format!("listening on {}", options.address);
        let listener = TcpListener::bind(options.address).context(opening).map_err(|error| {
            error.blame_input().hint("another program may be listening there: choose another --port, or 0 for any that is free")
        })?;
        listener.set_nonblocking(true).context(opening)?;
        let address = listener.local_addr().context(opening)?;
        let runtime = Builder::new_current_thread().enable_io().enable_time().max_blocking_threads(encoding::THREADS).build();
        let runtime = runtime.context(|| "starting the runtime")?;
        let (engine, metrics) = (Arc::new(engine), Arc::new(Metrics::default()));
        let context = Limits::new(&engine, options).context;
        let limits = BatchLimits { parallel: options.parallel, context, batch_tokens: options.batch_tokens };
        let model = BatchThread::start(Arc::clone(&engine), limits, Arc::clone(&metrics))?;
        let admission = Arc::new(Admission::new(options.connections.with_room_for(options.places())));
        let app = Arc::new(App::new(engine, model.inbox(), metrics, Arc::clone(&admission), options));
        Ok(Self { runtime, listener, address, app, admission, model, grace: options.grace })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is raised; then finishes what is computed or waits, as far as the time of grace allows, and refuses the rest.
    ///
    /// # Errors
    /// Ours: the port cannot be used.
    pub fn run(self, stop: &StopSignal) -> Result<()> {
        let Self { runtime, listener, app, admission, model, grace, .. } = self;
        let outcome = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).context(|| "using the port")?;
            let until = async {
                while stop.requested().is_none() {
                    sleep(LOOK).await;
                }
                app.refuse_more();
                let end = Instant::now() + grace;
                while !app.is_idle() && Instant::now() < end {
                    sleep(LOOK).await;
                }
                model.stop();
            };
            connections::serve(listener, router(Arc::clone(&app)), admission, until).await;
            Ok(())
        });
        runtime.shutdown_background(); // a prompt that is still encoded has no client
        model.join();
        outcome
    }
}
