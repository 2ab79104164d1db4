//! `bench-inference` as a process, on random weights of a small experiment's shape: a line for each setting, the same figures as CSV, and
//! what it refuses. The figures themselves are not judged: they are the machine's.

use assert_cmd::Command;
use std::collections::BTreeSet;
use std::path::Path;

fn bench(models: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-inference"));
    command.arg("--models-dir").arg(models).args(arguments).args(["--rounds", "1", "--prompt", "40", "--generate", "8"]);
    command
}

#[test]
fn every_setting_has_a_line_and_a_row() {
    let dir = tempfile::tempdir().unwrap();
    let csv = dir.path().join("figures.csv");
    let flags = ["--random", "ablations", "--threads", "1,2", "--head", "int8,float32", "--csv", csv.to_str().unwrap()];
    let output = bench(dir.path(), &flags).assert().success().get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    assert!(text.contains("head 72 x 256, int8") && text.contains("head 72 x 256, float32"), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains(" tok/s ")).count(), 4, "{text}");
    let mut reader = csv::Reader::from_path(&csv).unwrap();
    let headers = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
    let settings: BTreeSet<(String, String)> = rows.iter().map(|row| (row[1].to_owned(), row[2].to_owned())).collect();
    assert_eq!((&headers[0], &headers[1], &headers[2], rows.len(), settings.len()), ("engine", "head", "threads", 4, 4));
    assert!(
        rows.iter().flat_map(|row| row.iter().skip(3)).all(|figure| figure.parse::<f64>().is_ok_and(|figure| figure > 0.0)),
        "{rows:?}"
    );
    // Another call takes the folder that the first one wrote.
    let folder = dir.path().join("random-ablations");
    let model = ["--model", folder.to_str().unwrap(), "--threads", "1"];
    assert!(String::from_utf8(bench(dir.path(), &model).assert().success().get_output().stdout.clone()).unwrap().contains("as-stored"));
}

#[test]
fn what_cannot_be_measured_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    for (flags, expected) in [
        (&["--random", "nobody"][..], "nobody"),
        (&["--random", "ablations", "--threads", "0"], "--threads"),
        (&["--model", "nobody"], "nobody"),
        (&["--random", "ablations", "--model", "mine"], "cannot be used with"),
        (&["--random", "ablations", "--python", "python3"], "--against-llama-cpp"),
        (&["--random", "ablations", "--against-llama-cpp", "--python", "no/python"], "scripts/setup-llama-cpp"),
    ] {
        let output = bench(dir.path(), flags).assert().code(2).get_output().stderr.clone();
        let text = String::from_utf8(output).unwrap();
        assert!(text.contains(expected), "{flags:?}: {text}");
    }
}
