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

/// The largest difference over the largest magnitude.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f32, |largest, number| largest.max(number.abs()));
    found.iter().zip(expected).fold(0f32, |worst, (found, expected)| worst.max((found - expected).abs())) / largest
}

fn logits_agree(name: &str, tolerance: f32) {
    let Some(dir) = golden(name) else { return };
    let (model, expected) = (Model::load(&dir, &options()).unwrap(), Expected::read(&dir));
    let mut workspace = model.new_workspace(64);
    let mut caches: Vec<_> = expected.ids.iter().map(|_| model.new_cache(32).unwrap()).collect();
    let texts = caches.iter_mut().zip(&expected.ids);
    let mut batch: Vec<_> = texts.map(|(cache, tokens)| Chunk { cache, tokens, logits: Wanted::All }).collect();
    let found = model.forward(&mut batch, &mut workspace).unwrap();
    let difference = difference(found, &expected.logits);
    println!("{name}: largest difference over largest logit {difference:.2e}");
    assert!(difference <= tolerance, "{name}: {difference}");
}

fn greedy_tokens_agree(name: &str) {
    let Some(dir) = golden(name) else { return };
    let (model, expected) = (Model::load(&dir, &options()).unwrap(), Expected::read(&dir));
    let (mut workspace, mut cache) = (model.new_workspace(5), model.new_cache(64).unwrap());
    let mut ids = expected.ids[0].clone();
    let mut unread = ids.clone();
    while ids.len() < expected.greedy.len() {
        let logits = model.read(&unread, &mut cache, &mut workspace).unwrap();
        let likeliest = (0..logits.len()).max_by(|&left, &right| logits[left].total_cmp(&logits[right])).unwrap();
        unread = vec![likeliest as u32];
        ids.push(likeliest as u32);
    }
    assert_eq!(ids, expected.greedy, "{name}");
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
