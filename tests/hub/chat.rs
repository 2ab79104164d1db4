//! `chat` and `import` with a model of a Hub: fetched once, then from the cache.

use super::server::Server;
use super::small_folder::{config, folder};
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
