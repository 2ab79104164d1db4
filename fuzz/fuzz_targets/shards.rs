//! Any bytes as a file of token shards: read wherever there are tokens.
#![no_main]

use bitnet::data::shards::TokenShards;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(dir) = tempfile::tempdir() else { return };
    let path = dir.path().join("shard.bin");
    if std::fs::write(&path, bytes).is_err() {
        return;
    }
    let Ok(shards) = TokenShards::open_files(&[path], 1 << 16) else { return };
    let _ = shards.verify();
    let mut tokens = [0u32; 64];
    for start in [0, 1, shards.num_tokens().saturating_sub(64)] {
        let _ = shards.read(start, &mut tokens);
    }
});
