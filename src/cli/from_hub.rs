//! Files of the hub for a command line: what will be fetched is said on stderr before it begins, and drawn while it goes on.

use crate::data::hub::{Environment, Kind, Plan, Progress, Request, fetch_plan, plan};
use crate::report::BytesProgress;
use crate::{Error, Result};
use std::io::{Write, stderr};
use std::path::PathBuf;

const MAIN: &str = "main";
/// What a model folder consists of; which of it has to be there is seen when it is loaded. Every repository has the last one, so that
/// something is found where all weights are GGUF.
const MODEL_FILES: &str = "config.json,generation_config.json,tokenizer.json,tokenizer_config.json,chat_template.jinja,\
                           *.safetensors,*.safetensors.index.json,.gitattributes";

/// Fetches the model `id`, as far as it is not in the cache: its folder, or its GGUF file where it has no other weights.
pub(super) fn fetch_model(id: &str, environment: &Environment) -> Result<PathBuf> {
    let request = |files: &str| Request {
        kind: Kind::Model,
        repository: id.to_owned(),
        revision: MAIN.to_owned(),
        files: vec![format!("{{{files}}}")],
    };
    let never = || false; // what a killed download leaves is gone on with
    let paths = fetch_announced(&request(MODEL_FILES), environment, false, &never)?.unwrap_or_default();
    let has_ending = |path: &&PathBuf, ending: &str| path.extension().is_some_and(|extension| extension == ending);
    if let Some(weights) = paths.iter().find(|path| has_ending(path, "safetensors")) {
        return Ok(weights.parent().unwrap_or(weights).to_owned());
    }
    let paths = fetch_announced(&request("*.gguf"), environment, false, &never)?.unwrap_or_default();
    match &paths[..] {
        [weights] => Ok(weights.clone()),
        several => Err(Error::input(format!("{id}: {} GGUF files, and no other weights", several.len()))
            .hint("fetch the one that is meant, and give its path")),
    }
}

/// The files of `request`; with `is_dry` they are only listed. None: it was asked to stop.
///
/// # Errors
/// Those of [`plan`] and [`fetch_plan`].
pub fn fetch_announced(
    request: &Request,
    environment: &Environment,
    is_dry: bool,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Option<Vec<PathBuf>>> {
    let plan = match plan(request, environment, is_stopped) {
        Err(_) if is_stopped() => return Ok(None),
        plan => plan?,
    };
    let _ = writeln!(stderr(), "{}", summary(&plan));
    if is_dry {
        return Ok(Some(Vec::new()));
    }
    let mut progress = BytesProgress::new();
    let mut show = |at: Progress<'_>| progress.advanced(at.bytes_done, at.bytes, at.file);
    match fetch_plan(&plan, environment, &mut show, is_stopped) {
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
