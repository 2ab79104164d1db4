//! `train-tokenizer` as a user runs it: what it writes, prints and refuses.

use assert_cmd::Command;
use bitnet::tokenizer::Tokenizer;
use std::fs;
use std::path::Path;

const STORY: &str = "One day the cat sat on the mat.\r\nThe cat said: 12 + 345 = 357 \u{1f642}\n";

/// Runs `train-tokenizer` in `dir`; exit status, stdout, stderr.
fn run(dir: &Path, arguments: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_train-tokenizer"));
    let output = command.current_dir(dir).args(arguments.split_whitespace()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn stories() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("stories.txt"), format!("{STORY}<|endoftext|>{STORY}")).unwrap();
    let line = serde_json::json!({"content": STORY}).to_string();
    fs::write(dir.path().join("stories.jsonl"), format!("{line}\n\n{line}\n")).unwrap();
    dir
}

fn written(path: &Path) -> Tokenizer {
    Tokenizer::from_json(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn byte_pairs_are_learned_from_text_and_from_lines_of_json_alike() {
    let dir = stories();
    let (status, stdout, stderr) =
        run(dir.path(), "--data stories.txt --vocab-size 280 --document-separator <|endoftext|> -o made/tokenizer.json");
    assert_eq!((status, stdout.as_str()), (0, "made/tokenizer.json\n"), "{stderr}");
    assert!(stderr.contains("learned from 2 documents") && stderr.contains("280 tokens, "), "{stderr}");
    let tokenizer = written(&dir.path().join("made/tokenizer.json"));
    assert_eq!(tokenizer.decode(&tokenizer.encode(STORY).unwrap()), STORY);
    let (status, ..) = run(dir.path(), "--data stories.jsonl --text-field content --vocab-size 280 -o b.json");
    assert_eq!(status, 0);
    assert_eq!(written(&dir.path().join("b.json")), tokenizer);
}

#[test]
fn characters_are_those_of_the_text_and_no_others() {
    let dir = stories();
    let (status, _, stderr) = run(dir.path(), "--data stories.jsonl --text-field content --characters -o c.json");
    assert_eq!(status, 0, "{stderr}");
    let tokenizer = written(&dir.path().join("c.json"));
    assert_eq!(tokenizer, Tokenizer::characters_of([Ok(STORY)]).unwrap());
    assert!(tokenizer.encode("|").is_err());
}

#[test]
fn a_file_that_is_there_is_replaced_only_by_force() {
    let dir = stories();
    fs::write(dir.path().join("t.json"), "mine").unwrap();
    let (status, stdout, stderr) = run(dir.path(), "--data stories.txt --characters -o t.json");
    assert_eq!((status, stdout.as_str()), (2, ""));
    assert!(stderr.contains("t.json is there already") && stderr.contains("hint: --force"), "{stderr}");
    assert_eq!(fs::read_to_string(dir.path().join("t.json")).unwrap(), "mine");
    assert_eq!(run(dir.path(), "--data stories.txt --characters -o t.json --force").0, 0);
    assert!(written(&dir.path().join("t.json")).vocab_size() > 10);
}

#[test]
fn records_without_text_are_passed_over_on_request_and_counted() {
    let dir = stories();
    let good = fs::read_to_string(dir.path().join("stories.jsonl")).unwrap();
    fs::write(dir.path().join("mixed.jsonl"), format!("{{\"question\": \"why\"}}\n{good}")).unwrap();
    let (status, _, stderr) = run(dir.path(), "--data mixed.jsonl --text-field content --vocab-size 280 --skip-bad-records -o m.json");
    assert_eq!(status, 0, "{stderr}");
    let said = "skipped 1 bad record, 1 of them without the field of the text; there is \"question\"\n";
    assert!(stderr.contains(said) && stderr.contains("learned from 2 documents"), "{stderr}");
    assert_eq!(run(dir.path(), "--data stories.jsonl --text-field content --vocab-size 280 -o s.json").0, 0);
    assert_eq!(written(&dir.path().join("m.json")), written(&dir.path().join("s.json")));
}

#[test]
fn a_mistake_is_named_and_writes_nothing() {
    let dir = stories();
    let cases = [
        (
            "--data stories.jsonl --vocab-size 300",
            "stories.jsonl:1: there is no field \"text\"; there is \"content\"\n\
             hint: --text-field NAME takes another field for the text, or --skip-bad-records passes such records over",
        ),
        (
            "--data stories.jsonl --characters --skip-bad-records",
            "2 bad records, 2 of them without the field of the text; there is \"content\"",
        ),
        ("--data missing.txt --vocab-size 300", "missing.txt does not exist"),
        ("--data stories.txt --vocab-size 200", "vocab_size is 200"),
        ("--data stories.txt --vocab-size 300 --special-token user", "the special token \"user\""),
        ("--data stories.txt --vocab-size 300 --characters", "cannot be used with"),
        ("--data stories.txt", "--vocab-size"),
    ];
    for (arguments, expected) in cases {
        let (status, stdout, stderr) = run(dir.path(), &format!("{arguments} -o t.json"));
        assert_eq!((status, stdout.as_str()), (2, ""), "{arguments}: {stderr}");
        assert!(stderr.contains(expected), "{arguments}: {stderr}");
        assert!(!dir.path().join("t.json").exists());
    }
}
