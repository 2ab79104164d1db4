//! Claims about whole files: those of the package `gguf` and our own are read, and whatever lies or is damaged is one clear error.

use super::{File, Layout, TensorType, Value, Writer};
use proptest::prelude::*;
use std::path::Path;

/// A file with every kind of value, and three tensors.
fn sample() -> Vec<u8> {
    let mut layout = Layout::new();
    layout.text("general.architecture", "bitnet").unwrap();
    layout.unsigned("bitnet.block_count", 2).unwrap();
    layout.float("bitnet.rope.freq_base", 10000.0).unwrap();
    layout.boolean("tokenizer.ggml.add_bos_token", true).unwrap();
    layout.texts("tokenizer.ggml.tokens", &["a", "", "é☺"]).unwrap();
    layout.integers("tokenizer.ggml.token_type", &[1, -3]).unwrap();
    layout.floats("tokenizer.ggml.scores", &[0.5]).unwrap();
    layout.tensor("a", TensorType::F32, &[3]).unwrap();
    layout.tensor("b", TensorType::Tq2_0, &[256, 2]).unwrap();
    layout.tensor("c", TensorType::F16, &[1, 2, 1, 2]).unwrap();
    let mut writer = Writer::begin(layout, Vec::new()).unwrap();
    writer.tensor("a", &[7; 12]).unwrap();
    writer.tensor("b", &[8; 132]).unwrap();
    writer.tensor("c", &[9; 8]).unwrap();
    writer.finish().unwrap()
}

#[track_caller]
fn refusal(bytes: &[u8]) -> String {
    let error = File::parse("x.gguf", bytes).unwrap_err();
    assert_eq!(error.exit_status(), 2, "{error}");
    let message = error.to_string();
    assert!(message.starts_with("x.gguf: byte "), "{message}");
    message
}

#[test]
fn what_is_written_is_read() {
    let bytes = sample();
    let file = File::parse("x.gguf", &bytes[..]).unwrap();
    assert_eq!(file.text("general.architecture").unwrap(), Some("bitnet"));
    assert_eq!(file.unsigned("bitnet.block_count").unwrap(), Some(2));
    assert_eq!(file.number("bitnet.rope.freq_base").unwrap(), Some(10000.0));
    assert_eq!(file.boolean("tokenizer.ggml.add_bos_token").unwrap(), Some(true));
    assert_eq!(file.texts("tokenizer.ggml.tokens").unwrap().unwrap(), ["a", "", "é☺"]);
    assert_eq!(file.numbers("tokenizer.ggml.token_type").unwrap().unwrap(), [1.0, -3.0]);
    assert_eq!(file.numbers("tokenizer.ggml.scores").unwrap().unwrap(), [0.5]);
    assert_eq!(file.text("absent").unwrap(), None);
    assert_eq!(file.metadata().count(), 7);
    assert_eq!(file.tensor_names().collect::<Vec<_>>(), ["a", "b", "c"]);
    let tensor = file.tensor("b").unwrap();
    assert_eq!((tensor.kind, tensor.dimensions, tensor.bytes), (TensorType::Tq2_0, &[256, 2][..], &[8; 132][..]));
    assert_eq!(file.tensor("c").unwrap().bytes, [9; 8]);
    for name in ["a", "b", "c"] {
        assert_eq!((file.tensor(name).unwrap().bytes.as_ptr() as usize - bytes.as_ptr() as usize) % 32, 0);
    }
    assert!(file.unsigned("general.architecture").unwrap_err().to_string().contains("is \"bitnet\", expected a whole number"));
    assert!(file.texts("tokenizer.ggml.scores").unwrap_err().to_string().contains("is an array of 1 Float32, expected an array of texts"));
    assert!(file.unsigned("tokenizer.ggml.add_bos_token").is_err() && file.numbers("tokenizer.ggml.tokens").is_err());
}

#[test]
fn a_file_of_the_package_gguf_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gguf_package.gguf");
    let file = File::parse("package.gguf", std::fs::read(path).unwrap()).unwrap();
    assert_eq!(file.unsigned("bitnet.block_count").unwrap(), Some(7));
    assert_eq!(file.number("bitnet.rope.freq_base").unwrap(), Some(10000.5));
    let values = ["a.int8", "a.uint64", "a.int64", "a.float64", "a.bool"].map(|key| file.value(key).unwrap().clone());
    let expected = [Value::Signed(-5), Value::Unsigned(1 << 40), Value::Signed(-(1 << 40)), Value::Float(0.1), Value::Bool(true)];
    assert_eq!(values, expected);
    assert!(file.unsigned("a.int8").unwrap_err().to_string().contains("`a.int8` is -5"));
    assert_eq!(file.texts("a.texts").unwrap().unwrap(), ["", "é☺", "x y"]);
    assert_eq!(file.numbers("a.numbers").unwrap().unwrap(), [3.0, -1.0, 2.0]);
    assert_eq!(file.numbers("a.floats").unwrap().unwrap(), [0.5, -0.25]);
    let codes = file.tensor("codes").unwrap();
    assert_eq!((codes.kind, codes.dimensions, codes.bytes.len()), (TensorType::Tq2_0, &[512, 2][..], 4 * 66));
    let half = file.tensor("half").unwrap();
    let mut numbers = [0.0; 6];
    super::read_floats(half.kind, half.bytes, 0, &mut numbers).unwrap();
    assert_eq!((half.dimensions, numbers), (&[3, 2][..], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
}

#[test]
fn version_2_is_read_and_others_are_named() {
    let version = |number: u32| [&sample()[..4], &number.to_le_bytes()[..], &sample()[8..]].concat();
    assert_eq!(File::parse("x", version(2)).unwrap().metadata().count(), 7);
    for number in [0, 1, 4, u32::MAX] {
        assert!(refusal(&version(number)).contains(&format!("version {number} is not read")));
    }
    assert!(refusal(&version(3 << 24)).contains("big-endian"));
    assert!(refusal(b"GGML and more").contains("no GGUF file"));
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sample();
    let end = bytes.len() - 24; // behind the last tensor there is only padding
    assert!(File::parse("x", &bytes[..end]).is_ok());
    (0..end).for_each(|length| drop(refusal(&bytes[..length])));
}

/// A header by hand: the bytes of metadata and of the tensor table, with what they say of their counts, and 64 bytes of data.
fn by_hand(num_tensors: u64, num_entries: u64, rest: &[u8]) -> Vec<u8> {
    let counts = [num_tensors.to_le_bytes(), num_entries.to_le_bytes()].concat();
    let mut bytes = [b"GGUF\x03\0\0\0", &counts[..], rest].concat();
    bytes.resize(bytes.len().next_multiple_of(32) + 64, 0);
    bytes
}

fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text].concat()
}

fn tensor(name: &str, dimensions: &[u64], kind: u32, start: u64) -> Vec<u8> {
    let axes: Vec<u8> = dimensions.iter().flat_map(|axis| axis.to_le_bytes()).collect();
    let count = (dimensions.len() as u32).to_le_bytes();
    [&text(name.as_bytes())[..], &count, &axes, &kind.to_le_bytes(), &start.to_le_bytes()].concat()
}

fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key.as_bytes())[..], &kind.to_le_bytes(), value].concat()
}

#[test]
fn counts_and_lengths_that_lie_are_refused_before_memory_is_taken() {
    for count in [u64::MAX, 1 << 63, (1 << 63) - 1, 4_000_000_000, 4] {
        assert!(refusal(&by_hand(count, 0, &[])).contains(&format!("{count} tensors do not fit")));
    }
    for count in [u64::MAX, 1 << 63, 24] {
        assert!(refusal(&by_hand(0, count, &[])).contains(&format!("{count} metadata entries do not fit")));
        let array = |element: u32| entry("k", 9, &[&element.to_le_bytes()[..], &count.to_le_bytes()].concat());
        assert!(refusal(&by_hand(0, 1, &array(12))).contains(&format!("`k`: {count} elements do not fit")));
        assert!(refusal(&by_hand(0, 1, &array(8))).contains("elements do not fit"));
    }
    for length in [u64::MAX, 1 << 63, 200] {
        assert!(refusal(&by_hand(0, 1, &length.to_le_bytes())).contains(&format!("{length} bytes of text do not fit")));
    }
}

#[test]
fn metadata_that_is_none_is_refused_by_key() {
    let one = |entry: &[u8]| refusal(&by_hand(0, 1, entry));
    assert!(one(&entry("k", 13, &[])).contains("`k`: 13 is no type of value"));
    assert!(one(&entry("k", 7, &[2])).contains("`k`: the bool is 2"));
    assert!(one(&entry("k", 8, &text(b"\xff"))).contains("`k`: the text before this place is no UTF-8"));
    assert!(one(&text(b"\xff")).contains("no UTF-8"));
    let in_array = |element: u32, rest: &[u8]| [&element.to_le_bytes()[..], &1u64.to_le_bytes(), rest].concat();
    assert!(one(&entry("k", 9, &in_array(9, &[0; 24]))).contains("`k`: arrays in arrays"));
    assert!(one(&entry("k", 9, &in_array(8, &text(b"\xc3")))).contains("no UTF-8"));
    assert!(one(&entry("k", 9, &in_array(7, &[3]))).contains("neither 0 nor 1"));
    assert!(refusal(&by_hand(0, 2, &entry("k", 0, &[1]).repeat(2))).contains("`k`: this key is there twice"));
    for alignment in [0, 3, 48, 1 << 31] {
        let message = one(&entry("general.alignment", 4, &u32::to_le_bytes(alignment)));
        assert!(message.contains(&format!("`general.alignment` is {alignment}, not a power of two")), "{message}");
    }
    assert!(one(&entry("general.alignment", 8, &text(b"32"))).contains("not a power of two"));
}

#[test]
fn tensors_that_lie_are_refused_by_name() {
    let one = |entry: Vec<u8>| refusal(&by_hand(1, 0, &entry));
    let message = one(tensor("t", &[1, 1, 1, 1, 1], 0, 0));
    assert!(message.contains("tensor \"t\": 5 axes are more than 4"), "{message}");
    let absurd = [&text(b"t")[..], &u32::MAX.to_le_bytes(), &[0; 40]].concat();
    assert!(one(absurd).contains("4294967295 axes"));
    assert!(one(tensor("t", &[], 0, 0)).contains("is none"));
    assert!(one(tensor("t", &[4, 0], 0, 0)).contains("is none"));
    assert!(one(tensor("t", &[u64::MAX, 2], 0, 0)).contains("more numbers than there can be"));
    assert!(one(tensor("t", &[100], 35, 0)).contains("rows of 100 numbers are no multiple of the 256 of TQ2_0"));
    assert!(one(tensor("t", &[4], 37, 0)).contains("37 is no type"));
    assert!(one(tensor("t", &[4], 0, 8)).contains("starts at 8 of the data, which is no multiple of 32"));
    assert!(one(tensor("t", &[17], 0, 0)).contains("beyond the end of the file"));
    assert!(one(tensor("t", &[1], 0, 64)).contains("beyond the end of the file"));
    assert!(one(tensor("t", &[4], 0, u64::MAX - 31)).contains("beyond the end of the file"));
    assert!(one(tensor("t", &[1 << 59], 0, 0)).contains("beyond the end of the file"));
    let two = |first: Vec<u8>, second: Vec<u8>| refusal(&by_hand(2, 0, &[first, second].concat()));
    assert!(two(tensor("s", &[9], 0, 0), tensor("t", &[1], 0, 32)).contains("inside the tensor before it, which ends at 36"));
    assert!(two(tensor("t", &[1], 0, 32), tensor("s", &[9], 0, 0)).contains("inside the tensor before it"));
    assert!(two(tensor("t", &[1], 0, 0), tensor("t", &[1], 0, 32)).contains("tensor \"t\" is there twice"));
    let fine = by_hand(2, 0, &[tensor("s", &[8], 0, 32), tensor("t", &[8], 0, 0)].concat());
    assert_eq!(File::parse("x", fine).unwrap().tensor_names().count(), 2);
}

#[test]
fn an_alignment_of_its_own_is_obeyed() {
    let rest = [entry("general.alignment", 4, &u32::to_le_bytes(8)), tensor("t", &[1], 0, 8)].concat();
    let mut bytes = [&b"GGUF\x03\0\0\0"[..], &1u64.to_le_bytes(), &1u64.to_le_bytes(), &rest].concat();
    bytes.resize(bytes.len().next_multiple_of(8) + 8, 0);
    bytes.extend(1.5f32.to_le_bytes());
    assert_eq!(File::parse("x", &bytes[..]).unwrap().tensor("t").unwrap().bytes, 1.5f32.to_le_bytes());
}

#[test]
fn a_writer_takes_what_was_said_and_nothing_else() {
    let layout = || {
        let mut layout = Layout::new();
        layout.tensor("a", TensorType::F32, &[2]).unwrap();
        layout
    };
    let begun = || Writer::begin(layout(), Vec::new()).unwrap();
    assert!(begun().tensor("b", &[0; 8]).is_err() && begun().tensor("a", &[0; 9]).is_err());
    assert!(begun().finish().unwrap_err().to_string().contains("tensor a was not written"));
    let mut writer = begun();
    writer.tensor("a", &[0; 8]).unwrap();
    assert!(writer.tensor("a", &[0; 8]).is_err());
    let mut twice = layout();
    assert!(twice.tensor("a", TensorType::F32, &[2]).is_err());
    twice.unsigned("k", 1).unwrap();
    assert!(twice.text("k", "").is_err());
    let message = layout().tensor("w", TensorType::Tq1_0, &[100, 3]).unwrap_err().to_string();
    assert!(message.contains("tensor w: rows of 100 numbers"), "{message}");
}

/// Reads all that a file holds.
fn read_all(file: &File<&[u8]>) {
    for (key, _) in file.metadata() {
        let _ = (file.text(key), file.unsigned(key), file.number(key), file.boolean(key), file.texts(key), file.numbers(key));
    }
    file.tensor_names().for_each(|name| assert!(file.tensor(name).is_some()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_are_a_file_or_an_error(version in 2u32..4, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = File::parse("x", &bytes[..]);
        let bytes = [b"GGUF", &version.to_le_bytes()[..], &bytes].concat();
        if let Ok(file) = File::parse("x", &bytes[..]) {
            read_all(&file);
        }
    }

    #[test]
    fn a_damaged_file_is_a_file_or_an_error(changes in proptest::collection::vec((0usize..700, any::<u8>()), 1..6), length in 0usize..1400) {
        let mut bytes = sample();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(length.max(24));
        if let Ok(file) = File::parse("x", &bytes[..]) {
            read_all(&file);
        }
    }
}
