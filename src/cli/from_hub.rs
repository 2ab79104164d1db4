//! Files of the hub for a command line: who is asked and what will be fetched is said on stderr before it begins, and drawn while it goes
//! on.

use crate::data::hub::{Environment, Kind, Known, Plan, Progress, Request, fetch_plan, is_unanswered, plan, plan_of_cache};
use crate::report::{BytesProgress, bytes};
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

/// The files of `request`. With `is_dry` they are only listed, and where nobody can be asked, what the cache knows of them is said instead.
/// None: it was asked to stop.
///
/// # Errors
/// Those of [`plan`] and [`fetch_plan`].
pub fn fetch_announced(
    request: &Request,
    environment: &Environment,
    is_dry: bool,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Option<Vec<PathBuf>>> {
    if !environment.is_offline {
        say(format_args!("asking {} for {request}", environment.host()?));
    }
    let plan = match plan(request, environment, is_stopped) {
        Err(_) if is_stopped() => return Ok(None),
        Err(error) if is_dry && is_unanswered(&error) => {
            say_known(request, environment, &error)?;
            return Ok(Some(Vec::new()));
        }
        plan => plan?,
    };
    say(format_args!("{}", summary(&plan)));
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

/// What would be fetched, as far as that is known without an answer, and why there is none.
fn say_known(request: &Request, environment: &Environment, error: &Error) -> Result<()> {
    let (files, sizes_unknown) = (request.files.join(", "), "how many files and bytes that is was not asked");
    say(format_args!("would fetch {files} of {request}"));
    match plan_of_cache(request, environment)? {
        Some(Known { plan, is_whole: true }) => say(format_args!("when it was last asked: {}", summary(&plan))),
        Some(Known { plan, is_whole: false }) => {
            say(format_args!("{sizes_unknown}; the cache holds {}, {}", num_files(&plan), bytes(plan.num_bytes())));
        }
        None => say(format_args!("{sizes_unknown}; the cache holds nothing of it")),
    }
    let _ = writeln!(stderr(), "note: {error}");
    Ok(())
}

fn summary(plan: &Plan) -> String {
    let (files, repository) = (num_files(plan), &plan.request.repository);
    format!("{files} of {repository}, {}, of which {} to fetch", bytes(plan.num_bytes()), bytes(plan.num_missing_bytes()))
}

fn num_files(plan: &Plan) -> String {
    match plan.files.len() {
        1 => "1 file".to_owned(),
        several => format!("{several} files"),
    }
}

/// A line on stderr, where someone may read it.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(stderr(), "hub        {line}");
}
