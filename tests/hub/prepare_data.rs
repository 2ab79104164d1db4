//! `prepare-data` with a Hub: what it fetches and says, from the first byte to the shards.

use super::server::{Reply, Server};
use super::setting::Setting;
use bitnet::data::Prepared;
use std::path::Path;
use std::process::{Command, Output};

const TEXT: &str = "data.text.source={hub: {repository: owner/corpus, revision: main, files: [\"data/*.txt\"]}}";
const TOKENIZER: &str = "tokenizer={hub: owner/corpus}";

struct Place {
    server: Server,
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let story = "The cat sat on the mat.";
        let tokenizer = bitnet::tokenizer::Tokenizer::characters_of([Ok(story.to_owned())]).unwrap().to_json().unwrap();
        let files: [(&str, &[u8]); 3] =
            [("data/big.txt", &story.repeat(100).into_bytes()), ("README.md", b"no text"), ("tokenizer.json", tokenizer.as_bytes())];
        Self { server: Server::new(&files), dir: tempfile::tempdir().unwrap() }
    }

    fn run(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let address = self.server.address();
        self.run_at(&address, arguments, variables)
    }

    fn run_at(&self, endpoint: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let experiment = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/shakespeare");
        let mut command = Command::new(env!("CARGO_BIN_EXE_prepare-data"));
        command.current_dir(self.dir.path()).arg(experiment).args(["--set", TEXT, "--set", TOKENIZER]).args(arguments);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).envs(variables.iter().copied());
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command.env("HF_ENDPOINT", endpoint).env("HF_HOME", self.dir.path().join("hub")).output().unwrap()
    }

    #[track_caller]
    fn prepared(&self, output: &Output) -> Prepared {
        assert!(output.status.success(), "{}", stderr(output));
        Prepared::open(&self.dir.path().join(String::from_utf8_lossy(&output.stdout).trim_end())).unwrap()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn text_and_tokenizer_are_fetched_announced_and_turned_into_shards() {
    let place = Place::new();
    let dry = place.run(&["--dry-run"], &[]);
    assert!(dry.status.success() && dry.stdout.is_empty(), "{}", stderr(&dry));
    assert!(stderr(&dry).contains("hub        1 file of owner/corpus, 2,300 bytes, of which 2,300 bytes to fetch"), "{}", stderr(&dry));
    assert!(stderr(&dry).contains("text       data/*.txt of owner/corpus on the hub"), "{}", stderr(&dry));
    assert_eq!(place.server.num_content_requests(), 0);

    let prepared = place.prepared(&place.run(&[], &[]));
    assert_eq!(prepared.manifest().train.text_bytes + prepared.manifest().validation.text_bytes, 2300);
    assert_eq!(place.server.num_content_requests(), 2);
}

#[test]
fn what_was_fetched_is_enough_without_the_hub() {
    let place = Place::new();
    let prepared = place.prepared(&place.run(&[], &[]));
    std::fs::remove_dir_all(prepared.dir()).unwrap();
    place.server.change(|_, _, _| Reply::new(500));
    let again = place.prepared(&place.run(&[], &[("HF_HUB_OFFLINE", "1")]));
    assert_eq!(again.fingerprint(), prepared.fingerprint());
    assert!(place.server.seen().is_empty());
}

#[test]
fn a_refusal_is_one_error_and_leaves_nothing() {
    let place = Place::new();
    for (status, expected) in [(401, "HF_TOKEN"), (404, "check its name")] {
        place.server.change(move |_, _, _| Reply::new(status));
        let output = place.run(&[], &[]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let said = stderr(&output);
        assert!(said.matches("error: ").count() == 1 && said.contains("hint: ") && said.contains(expected), "{said}");
        assert!(!place.dir.path().join("data").exists());
    }
}

#[test]
fn a_dry_run_without_a_network_says_what_is_known_and_what_was_not_asked() {
    let place = Place::new();
    let (nobody, offline) = (Setting::address_of_nobody(), [("HF_HUB_OFFLINE", "1")]);
    let dry = || [place.run_at(&nobody, &["--dry-run"], &[]), place.run_at(&nobody, &["--dry-run"], &offline)];
    for (output, reason) in dry().into_iter().zip(["no connection to 127.0.0.1", "HF_HUB_OFFLINE is set"]) {
        let said = stderr(&output);
        assert!(output.status.success() && output.stdout.is_empty(), "{said}");
        assert!(said.contains("hub        would fetch data/*.txt of dataset owner/corpus at main"), "{said}");
        assert!(said.contains("was not asked; the cache holds nothing of it"), "{said}");
        assert!(said.contains("note: ") && said.contains(reason), "{said}");
    }
    std::fs::remove_dir_all(place.prepared(&place.run(&[], &[])).dir()).unwrap();
    // Offline, what is in the cache is all that there is to know, and no note is needed.
    let [unreachable, offline] = dry();
    let said = stderr(&unreachable);
    assert!(unreachable.status.success(), "{said}");
    assert!(said.contains("when it was last asked: 1 file of owner/corpus, 2,300 bytes, of which 0 bytes to fetch"), "{said}");
    assert!(offline.status.success() && !stderr(&offline).contains("note: "), "{}", stderr(&offline));
}

#[test]
fn a_dry_run_that_is_refused_is_an_error() {
    let place = Place::new();
    place.server.change(|_, _, _| Reply::new(404));
    let output = place.run(&["--dry-run"], &[]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}
