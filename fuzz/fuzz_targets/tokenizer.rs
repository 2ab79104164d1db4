//! Any text as a tokenizer.json: the quick way to read a usual one and the careful way for all others are one.
#![no_main]

use bitnet::tokenizer::{HuggingFaceTokenizer, Tokenizer};
use libfuzzer_sys::fuzz_target;

const TEXT: &str = "he lo</s> hello\n\u{e9} 25 + 17 =";

fuzz_target!(|text: &str| {
    let tokenizer = HuggingFaceTokenizer::from_json(text).map(Tokenizer::HuggingFace);
    let Some(rest) = text.trim_start().strip_prefix('{') else { return };
    // A key that is there twice is unusual; of the two the second counts.
    let carefully = HuggingFaceTokenizer::from_json(&format!("{{\"model\":null,{rest}")).map(Tokenizer::HuggingFace);
    let (Ok(tokenizer), Ok(carefully)) = (&tokenizer, &carefully) else {
        assert!(tokenizer.is_err() && carefully.is_err());
        return;
    };
    assert_eq!(tokenizer.encode(TEXT).ok(), carefully.encode(TEXT).ok());
    let ids: Vec<u32> = (0..tokenizer.vocab_size().min(300) as u32).collect();
    assert_eq!((tokenizer.vocab_size(), tokenizer.decode(&ids)), (carefully.vocab_size(), carefully.decode(&ids)));
    assert_eq!((tokenizer.opening_id(), tokenizer.eos_id(), tokenizer.pad_id()), (carefully.opening_id(), carefully.eos_id(), carefully.pad_id()));
    let mut stream = tokenizer.stream();
    ids.iter().for_each(|id| _ = stream.push(*id));
});
