//! `prepare-data` as a user runs it: what it writes and prints, and that a bad corpus gives one clear error and leaves no shard.

use bitnet::data::{Prepared, Split};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a process ended with.
struct Ended {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// The directory that it prepared.
    #[track_caller]
    fn prepared(&self, dir: &Path) -> Prepared {
        assert_eq!(self.status, 0, "{}", self.stderr);
        Prepared::open(&dir.join(self.stdout.trim_end())).unwrap()
    }
}

/// For corpora of many documents, which Shakespeare is not.
const HELD_OUT: [&str; 2] = ["--set", "data.text.held_out={documents_percent: 20}"];

/// Runs `prepare-data` for shakespeare in `dir`.
fn run(dir: &Path, arguments: &[&str]) -> Ended {
    let experiment = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/shakespeare");
    let mut command = Command::new(env!("CARGO_BIN_EXE_prepare-data"));
    command.current_dir(dir).arg(experiment).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { status: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn stories() -> Vec<String> {
    (0..40).map(|number| format!("Story {number}: the cat sat on the mat, and nobody knew why.")).collect()
}

fn as_json_lines(field: &str) -> Vec<u8> {
    let lines: Vec<String> = stories().iter().map(|story| serde_json::json!({ field: story }).to_string() + "\n").collect();
    lines.concat().into_bytes()
}

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Every file below `dir`.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let (mut dirs, mut files) = (vec![dir.to_owned()], Vec::new());
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.path().is_dir() { dirs.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    files
}

#[test]
fn the_same_documents_give_the_same_shards_however_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let array = serde_json::to_vec(&stories().iter().map(|story| serde_json::json!({ "text": story })).collect::<Vec<_>>()).unwrap();
    let forms: [(&str, Vec<u8>); 5] = [
        ("a.txt", stories().join("<|>").into_bytes()),
        ("b.json", array),
        ("c.jsonl", as_json_lines("text")),
        ("d.jsonl.gz", gzipped(&as_json_lines("text"))),
        ("e.jsonl.zst", zstd::encode_all(&*as_json_lines("text"), 0).unwrap()),
    ];
    let mut shards = Vec::new();
    for (name, content) in forms {
        fs::write(dir.path().join(name), content).unwrap();
        let ended = run(dir.path(), &[&HELD_OUT[..], &["--data", name, "--set", "data.text.document_separator=<|>"]].concat());
        let prepared = ended.prepared(dir.path());
        assert_eq!(prepared.manifest().train.documents + prepared.manifest().validation.documents, 40, "{name}");
        shards.push(
            [Split::Train, Split::Validation].map(|split| fs::read(prepared.dir().join(&prepared.split(split).shards[0].file)).unwrap()),
        );
    }
    assert!(shards.iter().all(|other| *other == shards[0]));
}

#[test]
fn it_says_what_it_will_do_and_what_it_did_and_does_it_once() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("own.jsonl"), as_json_lines("text")).unwrap();
    let arguments = [&HELD_OUT[..], &["--data", "own.jsonl", "--threads", "1"]].concat();
    let dry = run(dir.path(), &[&arguments[..], &["--dry-run"]].concat());
    assert_eq!((dry.status, dry.stdout.as_str()), (0, ""), "{}", dry.stderr);
    assert!(dry.stderr.contains("text       own.jsonl\ntokenizer  its characters\nprepared   data/shakespeare-"), "{}", dry.stderr);
    assert_eq!(files_below(dir.path()).len(), 1);

    let first = run(dir.path(), &arguments);
    let manifest = first.prepared(dir.path()).manifest().clone();
    let line = format!("train      {} documents, {} tokens, 1.", manifest.train.documents, manifest.train.tokens);
    assert!(first.stderr.contains(&line), "{}", first.stderr);
    let written = |path: &PathBuf| (path.clone(), fs::metadata(path).unwrap().modified().unwrap());
    let before: Vec<_> = files_below(dir.path()).iter().map(written).collect();
    assert_eq!(run(dir.path(), &arguments).stdout, first.stdout);
    assert_eq!(files_below(dir.path()).iter().map(written).collect::<Vec<_>>(), before);
}

#[test]
fn a_tokenizer_of_the_users_own_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("own.txt"), stories().join("|")).unwrap();
    let own = bitnet::tokenizer::Tokenizer::characters_of([Ok(stories().concat() + "|xyz")]).unwrap();
    fs::write(dir.path().join("own.json"), own.to_json().unwrap()).unwrap();
    let prepared = run(dir.path(), &["--data", "own.txt", "--tokenizer", "own.json"]).prepared(dir.path());
    assert_eq!(prepared.manifest().tokenizer.vocab_size, own.vocab_size());
    assert_eq!(fs::read_to_string(prepared.tokenizer_path()).unwrap(), own.to_json().unwrap());
}

#[test]
fn a_bad_corpus_gives_one_clear_error_and_leaves_no_shard() {
    let good = String::from_utf8(as_json_lines("text")).unwrap();
    let cut = gzipped(&as_json_lines("text"));
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("bad.txt", b"a line\nand \xff\xfe".to_vec(), "byte 11 of the file is not UTF-8"),
        ("empty.txt", Vec::new(), "empty.txt is empty"),
        ("lines.jsonl", format!("{good}no JSON\n").into_bytes(), "lines.jsonl:41: "),
        ("field.jsonl", as_json_lines("body"), "field.jsonl:1: there is no field \"text\"; there is \"body\""),
        ("cut.jsonl.gz", cut[..cut.len() / 2].to_vec(), "cut.jsonl.gz"),
        ("words.doc", b"words".to_vec(), "the ending of words.doc is not known"),
    ];
    for (name, content, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), content).unwrap();
        let ended = run(dir.path(), &["--data", name]);
        assert_eq!((ended.status, ended.stdout.as_str()), (2, ""), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected) && ended.stderr.contains("\nhint: "), "{name}: {}", ended.stderr);
        assert_eq!(ended.stderr.matches("error: ").count(), 1, "{name}: {}", ended.stderr);
        assert!(!dir.path().join("data").exists(), "{name}: it leaves a directory");
    }
}

#[test]
fn bad_records_are_passed_over_and_counted_where_the_config_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let records = [as_json_lines("text"), b"no JSON\n{\"body\": \"text\"}\n".to_vec()].concat();
    fs::write(dir.path().join("own.jsonl"), records).unwrap();
    let ended = run(dir.path(), &[&HELD_OUT[..], &["--data", "own.jsonl", "--set", "data.text.bad_records=skip"]].concat());
    assert_eq!(ended.prepared(dir.path()).manifest().skipped.records, 2);
    assert!(
        ended
            .stderr
            .contains("skipped    2 bad records, 1 of them without the field of the text; there is \"body\"; such as: own.jsonl:41: "),
        "{}",
        ended.stderr
    );
}

#[test]
fn one_text_of_the_users_own_is_prepared_and_what_is_held_out_of_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("own.txt"), stories().join("\n")).unwrap();
    let arguments = ["--data", "own.txt", "--set", "data.text.held_out={documents_percent: 1}"];
    let first = run(dir.path(), &arguments);
    let manifest = first.prepared(dir.path()).manifest().clone();
    assert_eq!((manifest.train.documents, manifest.validation.documents), (1, 1));
    let reason = "held out: the last 10 percent of each document, not 1 percent of the documents: of 1 document 0 would be held out";
    assert!(first.stderr.contains(reason), "{}", first.stderr);
    let line = "held out   the last 10 percent of each document\ntrain      1 document, ";
    assert!(first.stderr.contains(line), "{}", first.stderr);
    assert!(run(dir.path(), &arguments).stderr.contains(line));
}

#[test]
fn records_without_the_field_of_the_text_are_named_with_the_flag_that_takes_another() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("own.jsonl"), as_json_lines("body")).unwrap();
    let skip = ["--data", "own.jsonl", "--set", "data.text.bad_records=skip"];
    let ended = run(dir.path(), &skip);
    assert_eq!((ended.status, ended.stdout.as_str()), (2, ""), "{}", ended.stderr);
    let expected = "40 bad records, 40 of them without the field of the text; there is \"body\"\nhint: --set data.text.text_field=NAME";
    assert!(ended.stderr.contains(expected) && !dir.path().join("data").exists(), "{}", ended.stderr);
    let some = [as_json_lines("body"), as_json_lines("text")].concat();
    fs::write(dir.path().join("own.jsonl"), some).unwrap();
    let ended = run(dir.path(), &[&HELD_OUT[..], &skip].concat());
    assert_eq!(ended.prepared(dir.path()).manifest().skipped.without_field, 40);
    let said =
        "skipped    40 bad records, 40 of them without the field of the text; there is \"body\"\nhint: --set data.text.text_field=NAME";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
}

#[test]
fn a_turned_bit_in_a_shard_is_found_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("own.jsonl"), as_json_lines("text")).unwrap();
    let arguments = [&HELD_OUT[..], &["--data", "own.jsonl"]].concat();
    let prepared = run(dir.path(), &arguments).prepared(dir.path());
    let path = prepared.dir().join("train-00000.tokens");
    let mut content = fs::read(&path).unwrap();
    content[100] ^= 1;
    fs::write(&path, &content).unwrap();
    let ended = run(dir.path(), &arguments);
    assert_eq!(ended.prepared(dir.path()).fingerprint(), prepared.fingerprint());
    assert!(ended.stderr.contains("starting over: the token shard ") && ended.stderr.contains("its hash is not"), "{}", ended.stderr);
    content[100] ^= 1;
    assert_eq!(fs::read(&path).unwrap(), content);
}

#[test]
fn a_parquet_that_is_cut_short_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cut.parquet"), b"PAR1 and what was fetched of it").unwrap();
    let ended = run(dir.path(), &["--data", "cut.parquet"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (2, ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("cut.parquet") && ended.stderr.contains("\nhint: "), "{}", ended.stderr);
}
