//! A trained model's GGUF file in llama.cpp: it loads there, and its logits on a text that both read are ours, as far as its own rounding of
//! activations, in blocks of 256 where ours has rows, allows. Needs llama-cpp-python: .llama-cpp/bin/python, as scripts/setup-llama-cpp makes
//! it, or BITNET_PYTHON; else it says what it skipped.
#![cfg(feature = "torch")]

mod tiny;

use bitnet::inference::{Chunk, Engine, LoadOptions, Wanted};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tiny::{Runs, finish};

/// A text of the task, as the model continues it.
const NUM_TOKENS: usize = 64;

/// A Python that has the package.
fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".llama-cpp/bin/python");
    let has_package =
        |python: &PathBuf| Command::new(python).args(["-c", "import llama_cpp"]).output().is_ok_and(|output| output.status.success());
    let found = std::env::var_os("BITNET_PYTHON").map(PathBuf::from).into_iter().chain([own]).find(has_package);
    if found.is_none() {
        println!("skipped: no llama-cpp-python; scripts/setup-llama-cpp makes it");
    }
    found
}

/// A GGUF file of a SiLU model that was trained a little, in rows of whole blocks of 256.
fn trained(runs: &Runs, kind: &str) -> PathBuf {
    let sizes = ["model.hidden_size=256", "model.intermediate_size=512", "model.num_attention_heads=4", "model.hidden_act=silu"];
    let training = ["data.arithmetic.largest_operand=9", "train.batch_size=16", "model.max_position_embeddings=128"];
    let set: Vec<&str> = sizes.iter().chain(&training).flat_map(|pair| ["--set", pair]).collect();
    let run = runs.run("silu");
    if !run.path().exists() {
        finish(runs.start("silu", &[&set[..], &["--num-steps", "200"]].concat()), 0);
    }
    let file = runs.path().join(format!("{kind}.gguf"));
    let mut export = Command::new(env!("CARGO_BIN_EXE_export"));
    export.arg(run.path()).args(["--to", "gguf", "--type", kind, "--embedding", "f32", "-o"]).arg(&file);
    finish(export, 0);
    file
}

/// The likeliest tokens behind `prompt`, itself included.
fn continued(engine: &Engine, prompt: &[u32], length: usize) -> Vec<u32> {
    let (mut cache, mut workspace) = (engine.model.new_cache(128).unwrap(), engine.model.new_workspace(NUM_TOKENS));
    let mut tokens = prompt.to_vec();
    let mut read = 0;
    while tokens.len() < length {
        let logits = engine.model.read(&tokens[read..], &mut cache, &mut workspace).unwrap();
        read = tokens.len();
        tokens.push(likeliest(logits));
    }
    tokens
}

fn likeliest(logits: &[f32]) -> u32 {
    (0..logits.len()).max_by(|&left, &right| logits[left].total_cmp(&logits[right])).unwrap() as u32
}

/// `[tokens][vocabulary]`.
fn logits(engine: &Engine, tokens: &[u32]) -> Vec<Vec<f32>> {
    let (mut cache, mut workspace) = (engine.model.new_cache(128).unwrap(), engine.model.new_workspace(NUM_TOKENS));
    let chunk = Chunk { cache: &mut cache, tokens, logits: Wanted::All };
    let all = engine.model.forward(&mut [chunk], &mut workspace).unwrap();
    all.chunks(engine.model.config().vocab_size).map(<[f32]>::to_vec).collect()
}

#[test]
fn llama_cpp_computes_of_a_trained_model_what_ours_does() {
    let Some(python) = python() else { return };
    let runs = Runs::new();
    for kind in ["tq2_0", "tq1_0"] {
        let file = trained(&runs, kind);
        let engine = Engine::load(&file, &LoadOptions { num_threads: 1, ..LoadOptions::default() }).unwrap();
        let prompt = engine.encode_prompt("3 + 4 = 7\n8 - 2 =").unwrap();
        let tokens = continued(&engine, &prompt, NUM_TOKENS);
        let ids: Vec<String> = tokens.iter().map(u32::to_string).collect();
        let output = Command::new(&python).arg("tests/llama_cpp/follow.py").arg(&file).arg(ids.join(",")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();

        let ours = logits(&engine, &tokens);
        let row = |row: &Value| -> Vec<f32> { row.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect() };
        let rows: Vec<Vec<f32>> = theirs["logits"].as_array().unwrap().iter().map(row).collect();
        assert_eq!((rows.len(), rows[0].len()), (NUM_TOKENS, ours[0].len()));
        let agreeing = ours.iter().zip(&rows).filter(|(ours, theirs)| likeliest(ours) == likeliest(theirs)).count();
        let largest = ours.iter().flatten().fold(0f32, |largest, logit| largest.max(logit.abs()));
        let pairs = ours.iter().flatten().zip(rows.iter().flatten());
        let apart = pairs.map(|(ours, theirs)| f64::from(ours - theirs).abs()).sum::<f64>() / (NUM_TOKENS * ours[0].len()) as f64;
        // Where another token is the likeliest, both are nearly so here: nearer than the two programs are apart in any logit of the text.
        let most = ours.iter().flatten().zip(rows.iter().flatten()).map(|(ours, theirs)| (ours - theirs).abs()).fold(0f32, f32::max);
        let gap = |(ours, theirs): (&Vec<f32>, &Vec<f32>)| ours[likeliest(ours) as usize] - ours[likeliest(theirs) as usize];
        let largest_gap = ours.iter().zip(&rows).map(gap).fold(0f32, f32::max);
        println!(
            "{kind}: the same likeliest token behind {agreeing} of {NUM_TOKENS}, else {:.2} % of the largest logit behind; logits differ by {:.2} % \
             in the mean, {:.2} % at most",
            100.0 * largest_gap / largest,
            100.0 * apart / f64::from(largest),
            100.0 * most / largest,
        );
        assert!(apart < 0.005 * f64::from(largest), "{kind}: {apart} of {largest}");
        assert!(most < 0.1 * largest && largest_gap <= 2.0 * most, "{kind}: {most} and {largest_gap} of {largest}");
        assert!(agreeing + NUM_TOKENS / 8 >= NUM_TOKENS, "{kind}: {agreeing}");
    }
}
