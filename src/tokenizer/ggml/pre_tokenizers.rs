//! Rules that part words, under the names that llama.cpp has for them in `tokenizer.ggml.pre`: each as the `pre_tokenizer` of a
//! `tokenizer.json`.

use crate::tokenizer::parting::PATTERN;
use serde_json::{Value, json};

/// Of GPT-2, but for the white space that its last alternatives are for.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Names with LLaMA 3's pattern, where a whole word that is a token is that token, whatever the merges say; texts open with `bos`.
const LLAMA3: [&str; 5] = ["llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral"];
/// Names with the same pattern, without that.
const SAME_PATTERN: [&str; 2] = ["dbrx", "smaug-bpe"];
/// Names where every digit is a word besides.
const SINGLE_DIGITS: [&str; 3] = ["qwen2", "deepseek-r1-qwen", "megrez"];
/// Names of GPT-2's own rule.
const AS_GPT2: [&str; 5] = ["gpt-2", "phi-2", "olmo", "jais", "exaone4"];
/// Names of GPT-2's rule behind one that makes every digit a word.
const DIGITS_THEN_GPT2: [&str; 4] = ["smollm", "starcoder", "refact", "command-r"];
/// The name of what llama.cpp does with files that do not name a rule.
const DEFAULT: &str = "default";

/// A rule that parts words.
pub(super) struct PreTokenizer {
    /// As `pre_tokenizer` has it.
    pub json: Value,
    /// Whether a word that is a token is not merged from its bytes.
    pub ignores_merges: bool,
    /// Whether texts open with `bos` where a file does not say.
    pub adds_bos: bool,
}

/// The rule of that name, if it is known here.
pub(super) fn by_name(name: &str) -> Option<PreTokenizer> {
    let is = |names: &[&str]| names.contains(&name);
    let json = match name {
        _ if is(&LLAMA3) || is(&SAME_PATTERN) => patterns(&[PATTERN]),
        _ if is(&SINGLE_DIGITS) => patterns(&[&PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")]),
        _ if is(&AS_GPT2) => byte_level(true),
        _ if is(&DIGITS_THEN_GPT2) => {
            json!({"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, byte_level(true)]})
        }
        DEFAULT => patterns(&[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]"]),
        _ => return None,
    };
    Some(PreTokenizer { json, ignores_merges: is(&LLAMA3), adds_bos: is(&LLAMA3) })
}

/// All names that are known, for messages.
pub(super) fn names() -> String {
    [&LLAMA3[..], &SAME_PATTERN, &SINGLE_DIGITS, &AS_GPT2, &DIGITS_THEN_GPT2, &[DEFAULT]].concat().join(", ")
}

/// The name of the rule `pre_tokenizer`, if there is one.
pub(super) fn name_of(pre_tokenizer: &Value, ignores_merges: bool) -> Option<&'static str> {
    let is_gpt2 = |step: &Value| step["type"] == "ByteLevel" && step["use_regex"] != false && step["add_prefix_space"] != true;
    if is_gpt2(pre_tokenizer) {
        return Some(AS_GPT2[0]);
    }
    let steps = pre_tokenizer["pretokenizers"].as_array()?;
    let [first, second] = steps.as_slice() else { return None };
    if first["type"] == "Digits" && first["individual_digits"] == true && is_gpt2(second) {
        return Some(DIGITS_THEN_GPT2[0]);
    }
    let isolates = first["behavior"] == "Isolated" && first["invert"] != true || first["behavior"] == "Removed" && first["invert"] == true;
    let is_split = first["type"] == "Split" && isolates && second["type"] == "ByteLevel" && second["use_regex"] == false;
    let pattern = first["pattern"]["Regex"].as_str().filter(|_| is_split)?;
    let single_digits = PATTERN.replace(r"\p{N}{1,3}", r"\p{N}");
    match ignores_merges {
        _ if pattern == single_digits => Some(SINGLE_DIGITS[0]),
        true if pattern == PATTERN => Some(LLAMA3[0]),
        false if pattern == PATTERN => Some(SAME_PATTERN[0]),
        _ => None,
    }
}

/// Each pattern parts what those before it have left together; then every byte becomes a character.
fn patterns(patterns: &[&str]) -> Value {
    let split = |pattern: &&str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let steps: Vec<Value> = patterns.iter().map(split).chain([byte_level(false)]).collect();
    json!({"type": "Sequence", "pretokenizers": steps})
}

fn byte_level(parts_words: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": parts_words})
}
