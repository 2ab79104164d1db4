//! What is asked of the Hub: a repository, a revision of it, and patterns of file names.

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
    pub(super) fn plural(self) -> &'static str {
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
    pub(super) fn repository(&self) -> hf_hub::Repo {
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
