//! What each format gives, that memory and blocks do not show, and what is said about files that are not as they should be. Parquet has
//! its own file.

use super::*;
use crate::Result;
use crate::random::Random;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

pub(super) fn settings() -> DocumentSettings {
    DocumentSettings { text_field: "text".to_owned(), document_separator: None, bad_records: BadRecords::Stop }
}

fn separated(separator: &str) -> DocumentSettings {
    DocumentSettings { document_separator: Some(separator.to_owned()), ..settings() }
}

fn skipping() -> DocumentSettings {
    DocumentSettings { bad_records: BadRecords::Skip, ..settings() }
}

pub(super) fn file(dir: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn open(path: &Path, settings: &DocumentSettings) -> Result<Documents> {
    Documents::new(&Sources::find(&[path.to_owned()])?, settings)
}

pub(super) fn read(path: &Path, settings: &DocumentSettings) -> Result<Vec<String>> {
    open(path, settings)?.map(|document| document.map(|document| document.text)).collect()
}

/// The documents of a file of this name and content.
fn texts(name: &str, content: &[u8], settings: &DocumentSettings) -> Result<Vec<String>> {
    let dir = tempdir().unwrap();
    read(&file(&dir, name, content), settings)
}

#[track_caller]
pub(super) fn assert_refused<T: std::fmt::Debug>(result: Result<T>, parts: &[&str]) {
    let error = result.unwrap_err();
    let message = error.to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    assert_eq!(error.exit_status(), 2, "{message}");
    assert!(error.hint_text().is_some_and(|hint| !hint.is_empty()), "no hint: {message}");
}

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(content: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_txt_without_separator_is_one_document() {
    assert_eq!(texts("a.txt", b"one\n\ntwo\n", &settings()).unwrap(), ["one\n\ntwo\n"]);
}

#[test]
fn a_separator_cuts_a_txt_is_dropped_and_leaves_no_blank_documents() {
    let content = b"<|endoftext|>one<|endoftext|>\n<|endoftext|><|endoftext|>two\nlines<|endoftext|>";
    assert_eq!(texts("a.txt", content, &separated("<|endoftext|>")).unwrap(), ["one", "two\nlines"]);
    assert_eq!(texts("a.txt", b"one\n\ntwo\n\n\nthree", &separated("\n\n")).unwrap(), ["one", "two", "\nthree"]);
    assert_eq!(texts("a.txt", b"no separator", &separated("\n\n")).unwrap(), ["no separator"]);
}

#[test]
fn separators_across_blocks_and_overlapping_ones_cut_as_split_does() {
    for seed in 0..40 {
        let mut random = Random::derive(seed, "separator test", 0);
        let separator = ["ab", "aab", "\n\n", "a", "é"][random.below(5) as usize];
        let length = [50, 65_530, 65_536, 200_000][random.below(4) as usize] + random.below(12);
        let rare = random.below(2_000) + 2;
        let letter = |draw: u64| if draw > 4 { 'x' } else { ['a', 'b', '\n', 'é', '\n'][draw as usize] };
        let text: String = (0..length).map(|_| letter(random.below(rare))).collect();
        let expected: Vec<&str> = text.split(separator).filter(|part| !part.trim().is_empty()).collect();
        assert_eq!(texts("a.txt", text.as_bytes(), &separated(separator)).unwrap(), expected, "seed {seed}");
    }
}

#[test]
fn json_lines_give_the_field_of_each_line_and_blank_lines_nothing() {
    let content =
        b"{\"text\": \"one\", \"id\": 1}\r\n\n  \n{\"id\": 2, \"text\": \"tw\\u00f6 \\ud83d\\ude00\"}\n\"three\"\n{\"text\": \"  \"}";
    assert_eq!(texts("a.jsonl", content, &settings()).unwrap(), ["one", "twö 😀", "three"]);
}

#[test]
fn a_dot_in_the_field_reaches_into_objects() {
    let settings = DocumentSettings { text_field: "page.body".to_owned(), ..settings() };
    assert_eq!(texts("a.jsonl", b"{\"page\": {\"body\": \"one\"}}", &settings).unwrap(), ["one"]);
    assert_refused(texts("a.jsonl", b"{\"page\": 3}", &settings), &["a.jsonl:1", "a number where \"body\"", "page.body"]);
    assert_refused(texts("a.jsonl", b"{\"page\": {\"head\": 3}}", &settings), &["no field \"page.body\"; there is \"head\""]);
}

#[test]
fn a_json_is_one_record_or_an_array_of_them() {
    assert_eq!(texts("a.json", b" {\"text\": \"one\"}\n", &settings()).unwrap(), ["one"]);
    let array = "\n[ {\"text\": \"a ] } , \\\" [\", \"more\": [[1, {\"x\": 2}], \"]\"]},\n \"two\" ,{\"text\":\"three\"}]\n";
    assert_eq!(texts("a.json", array.as_bytes(), &settings()).unwrap(), ["a ] } , \" [", "two", "three"]);
    assert!(texts("a.json", b"[]", &settings()).unwrap().is_empty());
}

#[test]
fn a_long_json_array_is_read_element_by_element() {
    let written: Vec<String> = (0..30_000).map(|number| format!("document {number} \"quoted\" \\ ],{{")).collect();
    let content = serde_json::to_vec_pretty(&written).unwrap();
    assert!(content.len() > 5 * (1 << 16));
    assert_eq!(texts("a.json", &content, &settings()).unwrap(), written);
}

#[test]
fn a_json_that_is_too_long_for_memory_is_refused_and_jsonl_is_named() {
    let dir = tempdir().unwrap();
    let content = serde_json::to_vec(&vec!["document"; 1000]).unwrap();
    let documents = |name: &str, limit: usize| open(&file(&dir, name, &content), &settings()).unwrap().with_limit(limit);
    assert_eq!(documents("a.json", content.len() / 4 + 1).count(), 1000);
    let refused = documents("a.json", content.len() / 4 - 1).collect::<Result<Vec<_>>>();
    assert_refused(refused, &["a.json has more than", "in memory as a whole", "a .jsonl, with a record a line, may have any size"]);
}

#[test]
fn a_document_says_where_it_was_found() {
    let dir = tempdir().unwrap();
    let places = |name: &str, content: &[u8], settings: &DocumentSettings| {
        let documents = open(&file(&dir, name, content), settings).unwrap();
        documents.map(|document| document.unwrap().place.to_string().rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(places("a.jsonl", b"\"a\"\n\n\"b\"", &settings()), ["a.jsonl:1", "a.jsonl:3"]);
    assert_eq!(places("a.json", b"[\n\"a\",\n\n\"b\"]", &settings()), ["a.json:2 (record 1)", "a.json:4 (record 2)"]);
    assert_eq!(
        places("a.txt", "é--b".as_bytes(), &separated("--")),
        ["a.txt, document 1 (from byte 0)", "a.txt, document 2 (from byte 4)"]
    );
}

#[test]
fn a_mark_of_the_byte_order_at_the_start_is_no_text() {
    assert_eq!(texts("a.txt", b"\xEF\xBB\xBFone", &settings()).unwrap(), ["one"]);
    assert_eq!(texts("a.json", b"\xEF\xBB\xBF[\"one\"]", &settings()).unwrap(), ["one"]);
    assert_refused(texts("a.txt", b"\xEF\xBB\xBFone\xFF", &settings()), &["byte 6 of the file"]);
    assert_eq!(texts("a.txt", b"x", &settings()).unwrap(), ["x"]);
}

#[test]
fn compressed_files_give_the_same_documents_several_members_too() {
    let halves = [&b"{\"text\": \"one\"}\n"[..], &b"{\"text\": \"two\"}\n"[..]];
    for (name, compress) in [("a.jsonl.gz", gzipped as fn(&[u8]) -> Vec<u8>), ("a.jsonl.zst", zstandard)] {
        assert_eq!(texts(name, &compress(&halves.concat()), &settings()).unwrap(), ["one", "two"]);
        let members = halves.map(compress).concat();
        assert_eq!(texts(name, &members, &settings()).unwrap(), ["one", "two"], "{name}");
    }
    assert_eq!(texts("A.TXT.GZ", &gzipped(b"one"), &settings()).unwrap(), ["one"]);
    assert_eq!(texts("a.json.zst", &zstandard(b"[\"one\"]"), &settings()).unwrap(), ["one"]);
}

#[test]
fn a_compressed_file_that_is_cut_or_changed_is_an_error_that_names_it() {
    let text: Vec<u8> = (0..40_000u32).flat_map(|number| format!("{} ", number.wrapping_mul(2_654_435_761)).into_bytes()).collect();
    for (name, content) in [("a.txt.gz", gzipped(&text)), ("a.txt.zst", zstandard(&text))] {
        for cut in [1, 5, 20, content.len() / 2, content.len() - 1] {
            assert_refused(texts(name, &content[..cut], &separated("\n")), &[name, "is broken behind byte", "fetch it again"]);
        }
        let mut changed = content.clone();
        changed[content.len() / 2] ^= 0x10;
        assert_refused(texts(name, &changed, &settings()), &[name, "is broken"]);
        assert_refused(texts(name, b"no such format at all", &settings()), &[name, "is broken"]);
    }
    assert_refused(texts("a.txt.gz", &gzipped(b""), &settings()), &["a.txt.gz is empty"]);
}

#[test]
fn a_broken_file_stops_even_where_bad_records_are_skipped() {
    let content = gzipped(b"{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
    assert_refused(texts("a.jsonl.gz", &content[..content.len() - 9], &skipping()), &["is broken"]);
    assert_refused(texts("a.json", b"[\"one\", \"tw", &skipping()), &["a.json:1", "ends in the middle"]);
}

#[test]
fn bytes_that_are_no_utf8_are_named_by_their_offset() {
    assert_refused(texts("a.txt", b"good\xC3\x28", &settings()), &["a.txt", "byte 4 of the file is not UTF-8"]);
    assert_refused(texts("a.txt", b"good--b\xFFd", &separated("--")), &["document 2 (from byte 6)", "byte 7 of the file"]);
    assert_refused(texts("a.jsonl", b"\"good\"\n\"b\xFFd\"", &settings()), &["a.jsonl:2", "byte 9 of the file"]);
    assert_refused(texts("a.json", b"[\"good\",\n\"b\xFFd\"]", &settings()), &["a.json:2", "byte 11 of the file"]);
}

#[test]
fn what_is_no_json_is_named_by_its_line() {
    let refused = |content: &[u8], parts: &[&str]| assert_refused(texts("a.jsonl", content, &settings()), parts);
    refused(b"\"good\"\nplain text\n", &["a.jsonl:2", "this is no JSON", "--set data.text.bad_records=skip"]);
    refused(b"{\"text\": \"one\"", &["a.jsonl:1", "this is no JSON: EOF", "line 1, column 14"]);
    refused(b"{\"text\": \"\\ud800\"}", &["a.jsonl:1", "this is no JSON"]);
    refused(&b"[".repeat(100_000), &["a.jsonl:1", "recursion limit"]);
}

#[test]
fn a_json_that_is_no_array_of_records_is_refused_where_it_goes_wrong() {
    let refused = |content: &[u8], parts: &[&str]| assert_refused(texts("a.json", content, &settings()), parts);
    refused(b"{\"text\": \"one\"}\n{\"text\": \"two\"}", &["a.json:2", "more behind its end", ".jsonl"]);
    refused(b"[\"one\"\n \"two\"]", &["a.json:2", "'\"' where a comma", "after 1 records"]);
    refused(b"[\"one\",]", &["a.json:1", "this is no JSON"]);
    refused(b"[,\"one\"]", &["this is no JSON"]);
    refused(b"[\"one\"] x", &["more behind its end"]);
    refused(b"[\"one\",", &["ends in the middle"]);
    refused(b"[", &["ends in the middle"]);
    refused(b"  \n ", &["a.json:2", "ends in the middle, after 0 records"]);
    refused(b"}", &["this is no JSON"]);
    refused(b"[{\"text\": \"one\"", &["ends in the middle"]);
    refused(b"[truth, \"one\"]", &["a.json:1", "this is no JSON"]);
    refused(b"17", &["a.json:1", "a number where \"text\""]);
}

#[test]
fn a_record_without_text_names_the_fields_that_it_has() {
    let refused = |content: &[u8], parts: &[&str]| assert_refused(texts("a.jsonl", content, &settings()), parts);
    refused(
        b"\"good\"\n{\"body\": \"x\", \"id\": 1}",
        &["a.jsonl:2", "no field \"text\"", "are \"body\", \"id\"", "--set data.text.text_field=NAME"],
    );
    refused(b"{}", &["there is none"]);
    refused(b"{\"text\": 17}", &["the field \"text\" is a number, not text"]);
    refused(b"{\"text\": null}", &["is null, not text"]);
    refused(b"[\"x\"]", &["a.jsonl:1", "an array where \"text\""]);
    let many: String = (0..100).map(|number| format!("\"field {number}\": 0,")).collect();
    refused(format!("{{{many}\"{}\": 1}}", "long".repeat(1000)).as_bytes(), &["and 81 more"]);
}

#[test]
fn bad_records_are_skipped_and_counted_where_that_is_asked_for() {
    let dir = tempdir().unwrap();
    let lines = "\"one\"\nnonsense\n{\"body\": \"x\"}\n\"two\"\n{\"text\": 3}\n\"b\u{0}\"\n";
    let path = file(&dir, "a.jsonl", [lines.as_bytes(), b"\"\xFF\"\n\"three\"\n1\n2\n3"].concat().as_slice());
    let mut documents = open(&path, &skipping()).unwrap();
    let texts: Vec<String> = documents.by_ref().map(|document| document.unwrap().text).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    assert_eq!(documents.skipped().records, 8);
    assert_eq!(documents.skipped().reasons.len(), 5);
    assert!(documents.skipped().reasons[1].ends_with("a.jsonl:3: there is no field \"text\"; there is \"body\""));
}

#[test]
fn a_record_that_is_too_long_is_named_and_passed_over_without_being_held() {
    let dir = tempdir().unwrap();
    let long = "x".repeat(300_000);
    let settings = DocumentSettings { document_separator: Some("--".to_owned()), ..skipping() };
    let contents = [
        ("a.txt", format!("one--{long}--two--{long}")),
        ("a.jsonl", format!("\"one\"\n\"{long}\"\n\"two\"\n\"{long}\"")),
        ("a.json", format!("[\"one\",\"{long}\",\"two\",\"{long}\"]")),
    ];
    for (name, content) in contents {
        let path = file(&dir, name, content.as_bytes());
        let mut documents = open(&path, &settings).unwrap().with_limit(200_000);
        let texts: Vec<String> = documents.by_ref().map(|document| document.unwrap().text).collect();
        assert_eq!((texts, documents.skipped().records), (vec!["one".to_owned(), "two".to_owned()], 2), "{name}");
        let stopping = DocumentSettings { bad_records: BadRecords::Stop, ..settings.clone() };
        let error = open(&path, &stopping).unwrap().with_limit(200_000).find_map(Result::err);
        assert_refused(error.map_or(Ok(()), Err), &[name, "more than 200000 bytes"]);
    }
    let whole = open(&file(&dir, "b.txt", long.as_bytes()), &super::tests::settings()).unwrap();
    assert_refused(whole.with_limit(299_999).collect::<Result<Vec<_>>>(), &["b.txt", "document_separator", "cut the file"]);
    let whole = open(&dir.path().join("b.txt"), &super::tests::settings()).unwrap();
    assert_eq!(whole.with_limit(300_000).count(), 1);
}

#[test]
fn nothing_is_read_behind_an_error() {
    let dir = tempdir().unwrap();
    let paths = [file(&dir, "a.jsonl", b"\"one\"\nbad\n\"two\""), file(&dir, "b.jsonl", b"\"three\"")];
    let documents: Vec<_> = Documents::new(&Sources::find(&paths).unwrap(), &settings()).unwrap().collect();
    assert_eq!(documents.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn a_directory_is_its_files_in_the_order_of_their_names() {
    let dir = tempdir().unwrap();
    for (name, text) in [("b.txt", "2"), ("a/z.jsonl", "\"1\""), ("c/a.txt", "3"), ("c/b/a.txt", "4"), ("d.txt", "5"), (".hidden", "x")] {
        file(&dir, name, text.as_bytes());
    }
    assert_eq!(read(dir.path(), &settings()).unwrap(), ["1", "2", "3", "4", "5"]);
    let sources = Sources::find(&[dir.path().to_owned()]).unwrap();
    assert_eq!((sources.files().len(), sources.num_bytes()), (5, 7));
}

#[test]
fn files_that_cannot_be_read_are_refused_before_the_first_is_opened() {
    let dir = tempdir().unwrap();
    let refused = |path: PathBuf, parts: &[&str]| assert_refused(Sources::find(&[path]), parts);
    refused(dir.path().join("absent.txt"), &["absent.txt does not exist"]);
    refused(file(&dir, "x/a.csv", b"a"), &["ending of", "a.csv is not known", ".jsonl"]);
    refused(dir.path().join("x"), &["a.csv is not known"]);
    refused(file(&dir, "noending", b"a"), &["noending is not known"]);
    refused(file(&dir, "a.jsonl.bz2", b"a"), &["a.jsonl.bz2 is not known"]);
    refused(file(&dir, "a.parquet.gz", b"a"), &["a.parquet.gz", "compressed inside"]);
    refused(file(&dir, "empty.txt", b""), &["empty.txt is empty"]);
    fs::create_dir(dir.path().join("nothing")).unwrap();
    refused(dir.path().join("nothing"), &["there are no files in", "nothing"]);
    assert_refused(Sources::find(&[]), &["there are no files"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(dir.path().join("loop"), file(&dir, "loop/a.txt", b"x").with_file_name("again")).unwrap();
        refused(dir.path().join("loop"), &["directories deep"]);
    }
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    assert_refused(texts("a.txt", b"x", &separated("")), &["document_separator is empty"]);
    for text_field in ["", ".", "a..b", "a."] {
        assert_refused(texts("a.txt", b"x", &DocumentSettings { text_field: text_field.to_owned(), ..settings() }), &["text_field"]);
    }
}

#[test]
fn what_was_read_of_the_files_is_known() {
    let dir = tempdir().unwrap();
    let path = file(&dir, "a.jsonl.gz", &gzipped(b"\"one\"\n\"two\""));
    let mut documents = open(&path, &settings()).unwrap();
    assert_eq!(documents.bytes_read(), 0);
    assert_eq!(documents.by_ref().count(), 2);
    assert_eq!(documents.bytes_read(), fs::metadata(path).unwrap().len());
}

#[test]
fn no_bytes_at_all_make_any_format_panic() {
    let dir = tempdir().unwrap();
    let seeds: [&[u8]; 3] = [b"[{\"text\": \"a\\n\"}, \"b\",\n{}]", b"{\"text\": \"one\"}\n\"two\"\n", b"\x1f\x8b\x08\x00"];
    for seed in 0..300 {
        let mut random = Random::derive(seed, "hostile documents", 0);
        let mut content = seeds[random.below(3) as usize].repeat(1 + random.below(4) as usize);
        for _ in 0..1 + random.below(5) {
            let at = random.below(content.len() as u64) as usize;
            content[at] = random.next_u64() as u8;
        }
        for name in ["a.txt", "a.json", "a.jsonl", "a.json.gz", "a.txt.zst"] {
            for settings in [settings(), skipping(), separated("\n")] {
                let _ = read(&file(&dir, name, &content), &settings);
            }
        }
    }
}
