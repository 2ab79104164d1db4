//! Files of a dataset or model repository of the Hugging Face Hub, in the cache that its own library uses. Owns what is asked for, where
//! from, and that nothing wrong or half-written gets a final name; what is in the files is the business of whoever reads them.
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
mod revision;
mod select;
mod verify;

pub use environment::{Environment, Token};
pub use failure::is_unanswered;
pub use fetch::{Progress, fetch, fetch_plan};
pub use patience::Patience;
pub use plan::{Known, Plan, PlannedFile, plan, plan_of_cache};
pub use proxies::Proxies;
pub use verify::Content;

use std::fmt;

/// What kind of repository; the Hub keeps their names apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A dataset.
    Dataset,
    /// A model.
    Model,
}

impl Kind {
    /// As in addresses.
    fn plural(self) -> &'static str {
        match self {
            Self::Dataset => "datasets",
            Self::Model => "models",
        }
    }
}

/// Which files are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Dataset or model.
    pub kind: Kind,
    /// `owner/name`, or `name` for the few that have no owner.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// Patterns of file names: `*` and `?` stay within a directory, `**` does not, `{a,b}` and `[0-9]` as in a shell. Each has to match.
    pub files: Vec<String>,
}

impl Request {
    /// As hf-hub names it.
    fn repository(&self) -> hf_hub::Repo {
        let kind = match self.kind {
            Kind::Dataset => hf_hub::RepoType::Dataset,
            Kind::Model => hf_hub::RepoType::Model,
        };
        hf_hub::Repo::with_revision(self.repository.clone(), kind, self.revision.clone())
    }
}

/// As messages name it.
impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Dataset => "dataset",
            Kind::Model => "model",
        };
        write!(formatter, "{kind} {} at {}", self.repository, self.revision)
    }
}
