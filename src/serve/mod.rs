//! An OpenAI-compatible server over the packed engine. Here are its options and the order of its parts: `server` starts and stops,
//! `admission` says who may be connected, `connections` speaks HTTP, `routes` says what lies where, `request` reads what is asked,
//! `encoding` makes tokens of it, `batch` owns the model and computes for all clients together, `answer` and `stream` say what came of it.

mod access;
mod admission;
mod answer;
mod api_error;
mod batch;
mod body;
mod connections;
mod encoding;
mod fields;
mod histogram;
mod messages;
mod metrics;
mod names;
mod places;
mod prompts;
mod request;
mod routes;
mod sequence;
mod server;
mod share;
mod socket;
mod stream;

pub use admission::ConnectionLimits;
pub use server::Server;

use crate::{Error, Result};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How a model is served.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where clients connect; port 0 is any that is free.
    pub address: SocketAddr,
    /// What the model is called.
    pub model_name: String,
    /// Names of the server beside its addresses and `localhost`: browsers that ask for another get no answer.
    pub host_names: Vec<String>,
    /// What clients must bring, if anything.
    pub api_key: Option<String>,
    /// Texts that are computed at once.
    pub parallel: usize,
    /// Texts that wait beyond those.
    pub queue: usize,
    /// Tokens of a text, prompt and answer together; the model's context when absent, and never more.
    pub context: Option<usize>,
    /// Tokens of a pass over the model, of all texts together.
    pub batch_tokens: usize,
    /// The most new tokens that a request may ask for; no limit but the context when absent.
    pub max_tokens: Option<usize>,
    /// Bytes of the largest request.
    pub max_body_bytes: usize,
    /// How long texts that are computed may go on once the server is asked to stop.
    pub grace: Duration,
    /// How many connections there may be, and how long each may keep the server waiting.
    pub connections: ConnectionLimits,
}

impl ServeOptions {
    /// A model of this name, on loopback.
    pub fn new(model_name: impl Into<String>) -> Self {
        Self {
            address: SocketAddr::from((IpAddr::from([127, 0, 0, 1]), 8080)),
            model_name: model_name.into(),
            host_names: Vec::new(),
            api_key: None,
            parallel: 8,
            queue: 64,
            context: None,
            batch_tokens: 256,
            max_tokens: None,
            max_body_bytes: 1 << 20,
            grace: Duration::from_secs(30),
            connections: ConnectionLimits::default(),
        }
    }

    /// Texts that are computed or wait.
    pub fn places(&self) -> usize {
        self.parallel.saturating_add(self.queue)
    }

    /// Refuses what no server can be made with.
    ///
    /// # Errors
    /// The user's: a number out of its range.
    pub fn validate(&self) -> Result<()> {
        let at_least_one = |name: &str, number: usize| match number {
            0 => Err(Error::input(format!("{name} 0: it must be 1 or more"))),
            _ => Ok(()),
        };
        at_least_one("--parallel", self.parallel)?;
        at_least_one("--context", self.context.unwrap_or(1))?;
        at_least_one("--max-tokens", self.max_tokens.unwrap_or(1))?;
        at_least_one("--max-body-bytes", self.max_body_bytes)?;
        if self.batch_tokens < self.parallel {
            let message = format!("--batch-tokens {}: fewer than the {} texts of --parallel", self.batch_tokens, self.parallel);
            return Err(Error::input(message).hint("each text that is computed takes a token of every pass"));
        }
        if self.api_key.as_ref().is_some_and(String::is_empty) {
            return Err(Error::input("the API key is empty").hint("set --api-key or BITNET_API_KEY to a secret, or neither"));
        }
        if let Some(name) = self.host_names.iter().find(|name| name.is_empty() || name.contains([':', '/', '@'])) {
            let message = format!("--host-name {name:?}: it is no name of a host");
            return Err(Error::input(message).hint("give the name alone, such as models.example, without a scheme or a port"));
        }
        Ok(())
    }
}
