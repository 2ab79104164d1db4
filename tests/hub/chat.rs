//! `chat` and `import` with a model of a Hub: fetched once, then from the cache.

use super::server::Server;
use super::setting::Setting;
use super::small_folder::{config, folder};
use std::path::Path;
use std::process::{Command, Output, Stdio};

#[test]
fn a_model_is_named_by_its_id_fetched_once_and_then_there_without_the_hub() {
    let model = folder(&config());
    let names = ["config.json", "tokenizer.json", "model.safetensors"];
    let contents = names.map(|name| std::fs::read(model.path().join(name)).unwrap());
    let mut files: Vec<(&str, &[u8])> = names.iter().zip(&contents).map(|(name, content)| (*name, &content[..])).collect();
    files.push(("README.md", b"not needed"));
    let (server, dir) = (Server::new(&files), tempfile::tempdir().unwrap());
    let chat = |name: &str, is_offline: &str| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        command.arg(name).current_dir(dir.path()).env("HF_ENDPOINT", server.address()).env("HF_HUB_OFFLINE", is_offline);
        command.env("HF_HOME", dir.path().join("hub")).env_remove("HF_HUB_CACHE").env_remove("HF_TOKEN");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"to be\n").unwrap();
        child.wait_with_output().unwrap()
    };
    let expected = chat(model.path().to_str().unwrap(), "1").stdout;
    assert!(expected.starts_with(b"to be"));

    let absent = chat("owner/corpus", "1");
    let message = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert!(absent.status.code() == Some(2) && message.contains("owner/corpus") && message.contains("hint: "), "{message}");
    let fetched = chat("owner/corpus", "0");
    let message = String::from_utf8_lossy(&fetched.stderr).into_owned();
    assert_eq!(fetched.stdout, expected, "{message}");
    assert!(message.contains("3 files of owner/corpus"), "{message}");
    assert_eq!(server.num_content_requests(), 3);
    assert_eq!(chat("owner/corpus", "1").stdout, expected);
    assert_eq!(chat("owner/corpus", "0").stdout, expected);
    assert_eq!(server.num_content_requests(), 3);

    let mut import = Command::new(env!("CARGO_BIN_EXE_import"));
    import.arg("owner/corpus").current_dir(dir.path()).env("HF_HUB_OFFLINE", "1").env("HF_HOME", dir.path().join("hub"));
    let imported = import.env_remove("HF_HUB_CACHE").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&imported.stdout), "models/corpus\n", "{}", String::from_utf8_lossy(&imported.stderr));
    assert_eq!(chat("models/corpus", "1").stdout, expected);
}

/// What a binary that ends with an error says of a model of this name, without a network.
fn refusal(program: &str, name: &str, dir: &Path, endpoint: &str) -> (String, i32) {
    let mut command = Command::new(program);
    command.arg(name).current_dir(dir).env("HF_ENDPOINT", endpoint).env("HF_HOME", dir.join("hub"));
    command.env_remove("HF_HUB_CACHE").env_remove("HF_HUB_OFFLINE").env_remove("HF_TOKEN").stdin(Stdio::null());
    let output = command.output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

#[test]
fn a_name_that_may_be_the_hubs_says_whom_it_asks_and_gives_up_after_two_tries() {
    let (dir, endpoint) = (tempfile::tempdir().unwrap(), Setting::address_of_nobody());
    let host = endpoint.trim_start_matches("http://");
    let (said, status) = refusal(env!("CARGO_BIN_EXE_chat"), "nosuch/model", dir.path(), &endpoint);
    assert!(said.starts_with(&format!("hub        asking {host} for model nosuch/model at main\n")), "{said}");
    assert!(said.contains("\"nosuch/model\" is no path and no run here, so it was looked for on the hub"), "{said}");
    assert!(said.contains("tried 2 times") && said.contains("no connection to") && said.contains("HF_HUB_OFFLINE=1"), "{said}");
    assert_eq!(status, 1);
}

#[test]
fn a_name_that_is_nowhere_says_where_it_was_looked_for_and_what_is_near() {
    let (dir, endpoint) = (tempfile::tempdir().unwrap(), Setting::address_of_nobody());
    for folder in ["some/thing", "runs/mine/logs", "models/tiny-llama"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    for program in [env!("CARGO_BIN_EXE_chat"), env!("CARGO_BIN_EXE_import")] {
        for (name, expected) in [
            ("some/thin", "no folder or file of that name; the hub was not asked, as some is a path here\nhint: the nearest is some/thing"),
            ("some/thing", "config.json"),
            ("gpt2", "no folder or file of that name\nhint: the newest run is mine; a model of the hub is named owner/name, such as"),
            ("nine", "there is no run \"nine\" in runs, and no folder or file of that name\nhint: the nearest is mine"),
            ("tiny-lama", "hint: the nearest is models/tiny-llama"),
            ("./absent", "there is no run \"./absent\" in runs"),
        ] {
            let (said, status) = refusal(program, name, dir.path(), &endpoint);
            assert!(status == 2 && said.contains(expected), "{name}: {said}");
        }
    }
}

#[test]
fn an_endpoint_that_is_no_address_is_an_error_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let long = format!("https://{}", "a".repeat(100_000));
    for endpoint in ["huggingface.co", "https://me:secret@hub", "ftp://hub", &long] {
        let (said, status) = refusal(env!("CARGO_BIN_EXE_chat"), "owner/name", dir.path(), endpoint);
        assert!(status == 2 && said.contains("HF_ENDPOINT is no address of a Hub") && said.contains("hint: write https://host"), "{said}");
        assert!(!said.contains("secret") && said.len() < 500, "{said}");
    }
}
