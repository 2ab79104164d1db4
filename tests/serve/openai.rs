//! The official `openai` package for Python as the client. It needs a Python that has it: BITNET_PYTHON=/path/to/python3.

use super::setting::{Running, options, random_model};
use bitnet::serve::ServeOptions;
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/openai_client.py");

#[test]
fn the_openai_package_is_answered() {
    let python = std::env::var("BITNET_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_package = Command::new(&python).args(["-c", "import openai"]).output().is_ok_and(|output| output.status.success());
    if !has_package {
        eprintln!("skipped: {python} has no openai; set BITNET_PYTHON to one that has");
        return;
    }
    let server = Running::new(&random_model(256), &ServeOptions { api_key: Some("secret".into()), parallel: 2, queue: 30, ..options() });
    let mut command = Command::new(python);
    command.arg(SCRIPT).arg(format!("http://{}/v1", server.address)).env("NO_PROXY", "127.0.0.1");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.ends_with("all is well\n"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}
