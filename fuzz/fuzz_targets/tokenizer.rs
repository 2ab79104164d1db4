//! Any text as a tokenizer.json: what is accepted encodes and decodes.
#![no_main]

use bitnet::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(tokenizer) = Tokenizer::from_json(text) else { return };
    if let Ok(ids) = tokenizer.encode("he lo</s> hello\n\u{e9}") {
        let _ = tokenizer.decode(&ids);
    }
    let mut stream = tokenizer.stream();
    (0..tokenizer.vocab_size().min(300) as u32).for_each(|id| _ = stream.push(id));
});
