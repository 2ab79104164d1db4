//! Files of a dataset or model repository of the Hugging Face Hub, in the cache that its own library uses. Owns what is asked for, where
//! from, and that nothing wrong or half-written gets a final name; what is in the files is left to those who read them.
//!
//! hf-hub knows how repositories lie in the cache, and is asked for nothing else: its downloads verify no content, can hang and can take the
//! token to other hosts. So they are done here: with timeouts, by ranges, hashed on the way, the token sent to the Hub alone.

mod address;
mod cache;
mod client;
mod download;
mod environment;
mod failure;
mod fetch;
mod listing;
mod lock;
mod names;
mod partial;
mod patience;
mod plan;
mod proxies;
mod request;
mod retry;
mod revision;
mod select;
mod token;
mod verify;

pub use environment::Environment;
pub use failure::is_unanswered;
pub use fetch::{Progress, fetch, fetch_plan};
pub use patience::Patience;
pub use plan::{Known, Plan, PlannedFile, plan, plan_of_cache};
pub use proxies::Proxies;
pub use request::{Kind, Request};
pub use token::Token;
pub use verify::Content;
