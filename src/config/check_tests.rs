//! Claims about the words of `check`; what a user reads for a whole file is in `load_tests`.

use super::*;
use crate::config::keys::schema;

#[test]
fn the_nearest_word_bears_slips_and_hyphens_but_not_anything() {
    assert_eq!(nearest("Num-Steps", ["num_steps", "seq_len"]), Some("num_steps"));
    assert_eq!(nearest("warmup", ["warmup_steps", "second_stage"]), Some("warmup_steps"));
    assert_eq!(nearest("bf16", ["float32", "bfloat16"]), Some("bfloat16"));
    assert_eq!(nearest("ss", ["sub_steps", "second_stage"]), None, "two words could be meant");
    assert_eq!(nearest("xyz", ["warmup_steps", "second_stage"]), None);
}

#[test]
fn long_and_strange_text_is_cut_and_escaped() {
    let text = format!("\u{1b}[31m{}", "x".repeat(500));
    let stopped = check(schema().unwrap(), "", &serde_yaml::Value::from(text)).err().unwrap();
    let message = stopped.finding.unwrap().message;
    assert!(message.starts_with("the document is \"\\u{1b}[31mxxx") && message.contains("x\"..., expected a section"), "{message}");
}
