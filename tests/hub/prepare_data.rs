//! `prepare-data` with a Hub: what it fetches and says, from the first byte to the shards.

use super::server::{Reply, Server};
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
        let experiment = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/shakespeare");
        let mut command = Command::new(env!("CARGO_BIN_EXE_prepare-data"));
        command.current_dir(self.dir.path()).arg(experiment).args(["--set", TEXT, "--set", TOKENIZER]).args(arguments);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).envs(variables.iter().copied());
        if let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command.env("HF_ENDPOINT", self.server.address()).env("HF_HOME", self.dir.path().join("hub")).output().unwrap()
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
    assert!(stderr(&dry).contains("hub        1 files of owner/corpus, 0.000 GB, of which 0.000 GB to fetch"), "{}", stderr(&dry));
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
