//! What `prepare-data` fetches from the hub: said before it begins, drawn while it goes on.

use super::say;
use bitnet::Result;
use bitnet::config::{TextSource, TokenizerConfig};
use bitnet::data::hub::{Environment, Kind, Plan, Request, fetch_plan, plan};
use bitnet::data::{Corpus, Fetched};
use bitnet::report::BytesProgress;
use bitnet::run::StopSignal;
use std::path::PathBuf;

const MAIN: &str = "main";

/// The files that the corpus names on the hub; with `is_dry` they are only listed. None: it was asked to stop.
pub fn fetched(corpus: &Corpus, is_dry: bool, stop: &StopSignal) -> Result<Option<Fetched>> {
    let environment = Environment::from_env()?;
    let fetch = |request: Request| files_of(&request, &environment, is_dry, stop);
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

fn files_of(request: &Request, environment: &Environment, is_dry: bool, stop: &StopSignal) -> Result<Option<Vec<PathBuf>>> {
    let is_stopped = || stop.requested().is_some();
    let plan = match plan(request, environment, &is_stopped) {
        Err(_) if is_stopped() => return Ok(None),
        plan => plan?,
    };
    say(format_args!("{}", summary(&plan)));
    if is_dry {
        return Ok(Some(Vec::new()));
    }
    let mut progress = BytesProgress::new();
    let mut show = |at: bitnet::data::hub::Progress<'_>| progress.advanced(at.bytes_done, at.bytes, at.file);
    match fetch_plan(&plan, environment, &mut show, &is_stopped) {
        Err(_) if is_stopped() => Ok(None),
        fetched => fetched.map(Some),
    }
}

fn summary(plan: &Plan) -> String {
    let (all, missing): (u64, u64) = (plan.files.iter().map(|file| file.size).sum(), plan.num_missing_bytes());
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    let Request { repository, .. } = &plan.request;
    format!(
        "hub        {} files of {repository}, {:.3} GB, of which {:.3} GB to fetch",
        plan.files.len(),
        gigabytes(all),
        gigabytes(missing)
    )
}
