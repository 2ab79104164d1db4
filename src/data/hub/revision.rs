//! What commit a branch or tag is: one question to the Hub, the first of every fetch.

use super::client::Client;
use super::names::is_commit;
use super::retry::{Attempts, retry};
use super::{Patience, Request};
use crate::{Error, Result};
use serde::Deserialize;

/// As much of the answer as is needed.
#[derive(Deserialize)]
struct Revision {
    sha: Option<String>,
}

/// The commit that the request's revision is now.
pub(super) fn commit(client: &Client<'_>, patience: &Patience, request: &Request, stop: &dyn Fn() -> bool) -> Result<String> {
    let (wanted, address) = (request.to_string(), client.revision_address(request)?);
    let attempts = Attempts::of_first_contact(patience, stop);
    let Revision { sha } = retry(attempts, || client.json(&wanted, &address))?;
    let named = sha.filter(|sha| is_commit(sha));
    named.ok_or_else(|| Error::ours(format!("{request}: the server does not name its commit")).hint("check HF_ENDPOINT"))
}
