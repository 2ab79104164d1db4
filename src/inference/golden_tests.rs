//! Logits and greedy tokens of tiny models in the public layouts, as transformers computed them. The folders lie outside the repository.

use crate::inference::{Chunk, LoadOptions, Model, Wanted};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};
use std::{env, fs};

const FLOAT32: [&str; 3] = ["microsoft-master-f32", "microsoft-packed-f32", "onebitllm-f32"];

/// Where golden folders lie, if they do.
fn golden(name: &str) -> Option<PathBuf> {
    let shared = env::var_os("BITNET_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let dir = shared.join("golden").join(name);
    dir.is_dir().then_some(dir)
}

fn options() -> LoadOptions {
    LoadOptions { num_threads: 2, ..LoadOptions::default() }
}

struct Expected {
    ids: Vec<Vec<u32>>,
    logits: Vec<f32>,
    greedy: Vec<u32>,
}

impl Expected {
    fn read(dir: &Path) -> Self {
        let bytes = fs::read(dir.join("expected.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let ids = |name: &str| -> Vec<u32> {
            let (numbers, _) = file.tensor(name).unwrap().data().as_chunks::<8>();
            numbers.iter().map(|number| i64::from_le_bytes(*number) as u32).collect()
        };
        let (logits, _) = file.tensor("logits").unwrap().data().as_chunks::<4>();
        let length = file.tensor("input_ids").unwrap().shape()[1];
        Self {
            ids: ids("input_ids").chunks(length).map(<[u32]>::to_vec).collect(),
            logits: logits.iter().map(|number| f32::from_le_bytes(*number)).collect(),
            greedy: ids("greedy"),
        }
    }
}

/// The largest difference of a position, over the largest logit of all.
fn differences(found: &[f32], expected: &[f32], vocab_size: usize) -> Vec<f32> {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |largest, number| largest.max(number.abs()));
    let apart = |(found, expected): (&[f32], &[f32])| {
        found.iter().zip(expected).fold(0f32, |worst, (found, expected)| worst.max((found - expected).abs()))
    };
    found.chunks(vocab_size).zip(expected.chunks(vocab_size)).map(|rows| apart(rows) / largest).collect()
}

/// What a code reaches that a rounding moved, over the largest logit (`tests/inference_parity.rs` measures it), and of how many positions one
/// may have such a code before it.
const REACH_OF_A_CODE: f32 = 0.1;
const MOST_APART: usize = 4;

fn logits_agree(name: &str, tolerance: f32) {
    let Some(dir) = golden(name) else { return };
    let (model, expected) = (Model::load(&dir, &options()).unwrap(), Expected::read(&dir));
    let mut workspace = model.new_workspace(64);
    let mut caches: Vec<_> = expected.ids.iter().map(|_| model.new_cache(32).unwrap()).collect();
    let texts = caches.iter_mut().zip(&expected.ids);
    let mut batch: Vec<_> = texts.map(|(cache, tokens)| Chunk { cache, tokens, logits: Wanted::All }).collect();
    let found = model.forward(&mut batch, &mut workspace).unwrap();
    let apart = differences(found, &expected.logits, model.config().vocab_size);
    let num_apart = apart.iter().filter(|difference| **difference > tolerance).count();
    let worst = apart.iter().copied().fold(0f32, f32::max);
    println!("{name}: {num_apart} of {} positions apart, by {worst:.1e} of the largest logit at most", apart.len());
    assert!(worst <= tolerance.max(REACH_OF_A_CODE) && num_apart * MOST_APART <= apart.len(), "{name}: {apart:?}");
}

/// Reads the recorded text: behind each of its tokens the next one is the likeliest, or as likely as that one but for a moved code.
fn greedy_tokens_agree(name: &str) {
    let Some(dir) = golden(name) else { return };
    let (model, expected) = (Model::load(&dir, &options()).unwrap(), Expected::read(&dir));
    let text = &expected.greedy;
    let (mut workspace, mut cache) = (model.new_workspace(text.len()), model.new_cache(64).unwrap());
    let logits = model.forward(&mut [Chunk { cache: &mut cache, tokens: text, logits: Wanted::All }], &mut workspace).unwrap();
    let largest = logits.iter().fold(0f32, |largest, number| largest.max(number.abs()));
    let start = expected.ids[0].len();
    assert_eq!(text[..start], expected.ids[0]);
    let behind = |end: usize| {
        let row = &logits[(end - 1) * model.config().vocab_size..][..model.config().vocab_size];
        (row.iter().copied().fold(f32::NEG_INFINITY, f32::max) - row[text[end] as usize]) / largest
    };
    let gaps: Vec<f32> = (start..text.len()).map(behind).filter(|gap| *gap > 0.0).collect();
    println!("{name}: {} of {} tokens are not the likeliest, {gaps:?} behind", gaps.len(), text.len() - start);
    assert!(gaps.iter().all(|gap| *gap <= REACH_OF_A_CODE) && gaps.len() * MOST_APART <= text.len() - start, "{name}: {gaps:?}");
}

#[test]
fn logits_of_float32_folders_are_those_of_transformers() {
    FLOAT32.into_iter().for_each(|name| logits_agree(name, 1e-3));
}

#[test]
fn logits_of_a_bfloat16_folder_are_within_the_rounding_of_bfloat16() {
    logits_agree("microsoft-packed-bf16", 6e-2);
}

#[test]
fn greedy_tokens_of_float32_folders_are_those_of_transformers() {
    FLOAT32.into_iter().for_each(greedy_tokens_agree);
}
