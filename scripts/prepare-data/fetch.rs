//! What `prepare-data` fetches from the hub.

use bitnet::Result;
use bitnet::cli::fetch_announced;
use bitnet::config::{TextSource, TokenizerConfig};
use bitnet::data::hub::{Environment, Kind, Request};
use bitnet::data::{Corpus, Fetched};
use bitnet::run::StopSignal;

const MAIN: &str = "main";

/// The files that the corpus names on the hub; with `is_dry` they are only listed. None: it was asked to stop.
pub fn fetched(corpus: &Corpus, is_dry: bool, stop: &StopSignal) -> Result<Option<Fetched>> {
    let environment = Environment::from_env()?;
    let fetch = |request: Request| fetch_announced(&request, &environment, is_dry, &|| stop.requested().is_some());
    let mut fetched = Fetched::default();
    if let TokenizerConfig::Hub(name) = corpus.tokenizer() {
        let files = vec!["tokenizer.json".to_owned()];
        let request = Request { kind: Kind::Model, repository: name.clone(), revision: MAIN.to_owned(), files };
        let Some(files) = fetch(request)? else { return Ok(None) };
        fetched.tokenizer = files.into_iter().next();
    }
    if let TextSource::Hub(hub) = corpus.source() {
        let (repository, revision, files) = (hub.repository.clone(), hub.revision.clone(), hub.files.clone());
        let Some(files) = fetch(Request { kind: Kind::Dataset, repository, revision, files })? else { return Ok(None) };
        fetched.documents = Some(files);
    }
    Ok(Some(fetched))
}
