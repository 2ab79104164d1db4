//! Any bytes as a GGUF file: read in full where its header holds, then loaded as a model.
#![no_main]

use bitnet::gguf::{File, read_codes, read_floats};
use bitnet::inference::{Engine, LoadOptions};
use libfuzzer_sys::fuzz_target;

/// Numbers of the largest tensor that is read: more would only take time.
const MOST_NUMBERS: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = File::parse("fuzz.gguf", bytes) else { return };
    for (key, _) in file.metadata() {
        let _ = (file.text(key), file.unsigned(key), file.number(key), file.boolean(key), file.texts(key), file.numbers(key));
    }
    for tensor in file.tensor_names().filter_map(|name| file.tensor(name)) {
        let count = tensor.dimensions.iter().product::<u64>().min(MOST_NUMBERS) as usize;
        let _ = read_codes(tensor.kind, tensor.bytes, count);
        let _ = read_floats(tensor.kind, tensor.bytes, 0, &mut vec![0.0; count]);
    }
    let Ok(dir) = tempfile::tempdir() else { return };
    let path = dir.path().join("fuzz.gguf");
    if std::fs::write(&path, bytes).is_ok() {
        let _ = Engine::load(&path, &LoadOptions { num_threads: 1, ..LoadOptions::default() });
    }
});
