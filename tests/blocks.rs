//! Folders in the layout of the kernels, as `export --to blocks` writes them: what lies where, what every program makes of them, and how
//! damage is found.

mod folders;

use bitnet::inference::{HeadFormat, LoadOptions};
use bitnet::ternary::matrix::PackedMatrix;
use bitnet::ternary::weights::{TernaryMatrix, ternary_absmean};
use folders::*;
use safetensors::{Dtype, SafeTensors};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where numbers begin in the folder's file, and where those of each tensor do from there.
fn offsets(dir: &Path) -> (usize, BTreeMap<String, usize>) {
    let bytes = fs::read(dir.join("model.safetensors")).unwrap();
    let (length, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    (8 + length, metadata.tensors().into_iter().map(|(name, info)| (name, info.data_offsets.0)).collect())
}

#[test]
fn blocks_are_those_of_the_kernels_and_lie_at_cache_lines_of_the_file() {
    let place = Place::new();
    place.model("mine", &bare());
    let (output, _) = place.export("mine", "blocks", "out", &[]);
    let (latent, found) = (tensors(&bare(), 1), read_tensors(&output));
    let (start, offsets) = offsets(&output);
    assert_eq!(start % 4096, 0);
    for (name, (shape, numbers)) in latent.iter().filter(|(_, (shape, _))| shape.len() == 2) {
        assert_eq!(offsets[name] % 64, 0, "{name}");
        if name.contains(".layers.") {
            let TernaryMatrix { codes, scale } = ternary_absmean(numbers).unwrap();
            let matrix = PackedMatrix::pack(&codes, shape[0], shape[1], scale).unwrap();
            let shape = vec![shape[0].div_ceil(16), shape[1].div_ceil(16), 64];
            assert_eq!(found[name], (Dtype::U8, shape, matrix.bytes().to_vec()), "{name}");
            assert_eq!(found[&format!("{name}_scale")], as_f32(&(vec![1], vec![scale])), "{name}");
        }
    }
    assert_eq!(read_json(&output.join("config.json"))["quantization_config"], json!({"quant_method": "bitnet-blocks"}));
    let card = fs::read_to_string(output.join("README.md")).unwrap();
    assert!(
        card.contains("Not with transformers: its weights lie as bitnet's kernels read them") && !card.contains("library_name"),
        "{card}"
    );
    let (packed, _) = place.export("out", "packed", "packed", &[]);
    assert_eq!(read_tensors(&packed), read_tensors(&place.export("mine", "packed", "directly", &[]).0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_mapped_file_that_is_cut_short_while_it_is_used_ends_the_program_with_a_word() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::process::{Command, Stdio};
    let place = Place::new();
    place.model("mine", &bare());
    let (output, _) = place.export("mine", "blocks", "out", &[]);
    let mut chat = Command::new(env!("CARGO_BIN_EXE_chat"));
    chat.arg(&output).args(["--max-new-tokens", "4"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut chat = chat.spawn().unwrap();
    let (mut prompts, mut answer) = (chat.stdin.take().unwrap(), String::new());
    writeln!(prompts, "one").unwrap();
    BufReader::new(chat.stdout.take().unwrap()).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("one"), "{answer}");
    let weights = output.join("model.safetensors");
    fs::OpenOptions::new().write(true).open(&weights).unwrap().set_len(4096).unwrap();
    writeln!(prompts, "two").unwrap();
    drop(prompts);
    let mut said = String::new();
    chat.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(chat.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains(&format!("error: {} was cut short while it was in use\nhint: ", weights.display())), "{said}");
}

#[test]
fn embedding_and_head_of_blocks_can_be_int8_and_compute_what_loading_them_as_int8_does() {
    let place = Place::new();
    for (name, model) in [("tied", config()), ("not-tied", bare())] {
        let source = place.model(name, &model);
        let (output, stderr) = place.export(name, "blocks", &format!("{name}-out"), &["--dtype", "int8"]);
        assert!(stderr.contains("warning: embedding and head are rounded to 8 bits"), "{stderr}");
        let options = LoadOptions { head_format: HeadFormat::Int8, ..LoadOptions::default() };
        let expected = logits_with(&source, &options);
        assert!(logits(&output) == expected && logits_with(&output, &options) == expected, "{name}");
        let found = read_tensors(&output);
        let embedding = &found["model.embed_tokens.weight"];
        assert_eq!((embedding.0, &embedding.1), (Dtype::I8, &vec![36, 48]));
        assert_eq!(found["model.embed_tokens.weight_scale"].1, [36]);
        assert_eq!(found["model.norm.weight"].0, Dtype::F32, "norms stay");
        let (again, stderr) = place.export(&format!("{name}-out"), "blocks", &format!("{name}-again"), &[]);
        assert!(read_tensors(&again) == found && !stderr.contains("warning"), "8 bits stay as they are: {stderr}");
        let card = fs::read_to_string(again.join("README.md")).unwrap();
        assert!(card.contains("| embedding and head | 8 bits, and a scale a row |"), "{card}");
        let (packed, _) = place.export(&format!("{name}-out"), "packed", &format!("{name}-packed"), &[]);
        let (found, expected) = (logits(&packed), logits_with(&source, &LoadOptions { head_format: HeadFormat::Float32, ..options }));
        let apart = found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs()).fold(0f32, f32::max);
        let largest = expected.iter().fold(0f32, |largest, logit| largest.max(logit.abs()));
        assert!(apart < 0.1 * largest && apart > 0.0, "codes of 8 bits are numbers again: {apart} of {largest}");
    }
    let (bfloat16, _) = place.export("tied", "packed", "bfloat16", &["--dtype", "bfloat16"]);
    for (name, dtype, embedding) in [("wide", "as-stored", Dtype::BF16), ("narrow", "int8", Dtype::I8)] {
        let (output, _) = place.export("bfloat16", "blocks", name, &["--dtype", dtype]);
        let found = read_tensors(&output);
        assert_eq!((found["model.embed_tokens.weight"].0, found["model.norm.weight"].0), (embedding, Dtype::BF16));
        let head_format = if embedding == Dtype::I8 { HeadFormat::Int8 } else { HeadFormat::AsStored };
        assert!(logits(&output) == logits_with(&bfloat16, &LoadOptions { head_format, ..LoadOptions::default() }), "{name}");
    }
    let message = refusal("export", place.path(), &["tied", "--to", "packed", "-o", "out", "--dtype", "int8"]);
    assert!(message.contains("for folders in the layout of our kernels") && message.contains("--to blocks"), "{message}");
}

/// Writes `bytes` over the tensor `name` of a folder, from its `skipped`-th byte on.
fn write_over(dir: &Path, name: &str, skipped: usize, bytes: &[u8]) {
    let (start, offsets) = offsets(dir);
    let path = dir.join("model.safetensors");
    let mut content = fs::read(&path).unwrap();
    let place = start + offsets[name] + skipped;
    content[place..place + bytes.len()].copy_from_slice(bytes);
    fs::write(path, content).unwrap();
}

#[test]
fn every_program_takes_blocks_and_damage_to_them_is_found_by_those_that_read_all() {
    let place = Place::new();
    place.model("mine", &config());
    let (output, _) = place.export("mine", "blocks", "out", &["--dtype", "int8"]);
    let (table, _) = succeeds("inspect", place.path(), &["out"]);
    assert!(table.contains("2-bit") && table.contains("8-bit"), "{table}");
    let (imported, _) = succeeds("import", place.path(), &["out", "-o", "imported"]);
    assert!(logits(&place.path().join(imported.trim())).iter().all(|logit| logit.is_finite()));
    let refused = || {
        let message = refusal("inspect", place.path(), &["out"]);
        let reason = message.strip_prefix("error: ").unwrap();
        assert!(refusal("export", place.path(), &["out", "--to", "blocks", "-o", "copy"]).ends_with(reason));
        message
    };
    write_over(&output, Q_PROJ, 5, &[0b11_01]);
    let message = refused();
    assert!(message.contains(Q_PROJ) && message.contains("byte 5 is 0x0d, and bits 3 are no ternary code"), "{message}");
    write_over(&output, Q_PROJ, 5, &[0b01_01]);
    write_over(&output, "model.embed_tokens.weight_scale", 8, &3e38f32.to_le_bytes());
    assert!(refused().contains("in row 2, which is no scale"));
}
