//! GGUF files of ours as the package `gguf` (PyPI) reads them: names, types, shapes, and every number that it makes of them.
//! Needs a python3 with that package: BITNET_PYTHON, .pytorch/bin/python or python3; else it says what it skipped.

#[path = "gguf/folder.rs"]
mod folder;

use bitnet::config::ModelConfig;
use bitnet::export::{GgufOptions, ProjectionType, export_gguf};
use bitnet::gguf::Scaling;
use bitnet::inference::StoredModel;
use bitnet::storage::DISK;
use folder::{config, llama, relu2, write_folder};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Writes every tensor in float32 behind one another, and says on stdout which they are; rows of `llama` as Hugging Face has them.
const READER: &str = r#"
import json, sys
import numpy as np
from gguf import GGUFReader, dequantize
reader = GGUFReader(sys.argv[1])
value = lambda key: reader.get_field(key).contents()
architecture = value("general.architecture")
heads = {"attn_q": value(architecture + ".attention.head_count"), "attn_k": value(architecture + ".attention.head_count_kv")}
tensors = []
with open(sys.argv[2], "wb") as out:
    for tensor in reader.tensors:
        numbers = dequantize(tensor.data, tensor.tensor_type).astype("<f4")
        part = tensor.name.split(".")[-2]
        if architecture == "llama" and part in heads and numbers.ndim == 2:
            rows, inputs = numbers.shape
            numbers = numbers.reshape(heads[part], rows // heads[part] // 2, 2, inputs).swapaxes(1, 2).reshape(rows, inputs)
        out.write(np.ascontiguousarray(numbers).tobytes())
        tensors.append([tensor.name, tensor.tensor_type.name, [int(axis) for axis in tensor.shape]])
keys = ["general.file_type", architecture + ".block_count", architecture + ".rope.freq_base", "tokenizer.ggml.model", "tokenizer.ggml.pre"]
print(json.dumps({"tensors": tensors, "values": [value(key) for key in keys], "tokens": len(value("tokenizer.ggml.tokens"))}))
"#;

/// A Python that has the package.
fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".pytorch/bin/python");
    let candidates = env::var_os("BITNET_PYTHON").map(PathBuf::from).into_iter().chain([own, PathBuf::from("python3")]);
    let has_package =
        |python: &PathBuf| Command::new(python).args(["-c", "import gguf"]).output().is_ok_and(|output| output.status.success());
    candidates.into_iter().find(has_package)
}

/// Type, shape and numbers by name.
type Tensors = BTreeMap<String, (String, Vec<u64>, Vec<f32>)>;

/// What the package says of a file, and the numbers of its tensors.
fn read(python: &Path, path: &Path) -> (Value, Tensors) {
    let numbers_path = path.with_extension("f32");
    let output = Command::new(python).args(["-c", READER]).arg(path).arg(&numbers_path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let bytes = fs::read(&numbers_path).unwrap();
    let mut numbers = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let mut tensors = Tensors::new();
    for tensor in said["tensors"].as_array().unwrap() {
        let shape: Vec<u64> = tensor[2].as_array().unwrap().iter().map(|axis| axis.as_u64().unwrap()).collect();
        let count = shape.iter().product::<u64>() as usize;
        let entry = (tensor[1].as_str().unwrap().to_owned(), shape, numbers.by_ref().take(count).collect());
        tensors.insert(tensor[0].as_str().unwrap().to_owned(), entry);
    }
    assert_eq!(numbers.count(), 0);
    (said, tensors)
}

fn rounded_to_half(number: f32) -> f32 {
    half::f16::from_f32(number).to_f32()
}

/// Exports `model`, and compares what the package reads with what the folder holds.
fn compare(python: &Path, model: &ModelConfig, projections: ProjectionType, scaling: Scaling) {
    let folder = write_folder(model, 1);
    let (stored, path) = (StoredModel::open(folder.path()).unwrap(), folder.path().join("model.gguf"));
    let options = GgufOptions { projections: Some(projections), scaling: Some(scaling), ..GgufOptions::default() };
    let exported = export_gguf(&DISK, &stored, &options, &path).unwrap();
    let (said, tensors) = read(python, &path);
    let file_type = if projections == ProjectionType::Tq1_0 { 36 } else { 37 };
    assert_eq!(said["values"], serde_json::json!([file_type, 2, model.rope_theta, "gpt2", "dbrx"]));
    assert_eq!(said["tokens"], model.vocab_size);
    let mut num_scales = 0;
    for parameter in stored.parameters() {
        let name = bitnet::gguf::tensor_name(&parameter.name).unwrap();
        let (kind, shape, found) = &tensors[&name];
        assert_eq!(shape.iter().rev().map(|axis| *axis as usize).collect::<Vec<_>>(), parameter.shape, "{name}");
        let mut expected = Vec::new();
        if parameter.is_projection {
            assert_eq!(kind, projections.name());
            let matrix = stored.codes(parameter).unwrap();
            let beside = tensors.get(&name.replace(".weight", ".scale"));
            assert_eq!(beside.map(|(_, _, numbers)| numbers.as_slice()), (scaling == Scaling::Beside).then_some(&[matrix.scale][..]));
            num_scales += usize::from(beside.is_some());
            let scale = if scaling == Scaling::Beside { 1.0 } else { rounded_to_half(matrix.scale) };
            expected.extend(matrix.codes.iter().map(|code| f32::from(*code) * scale));
        } else {
            let keep = if parameter.shape.len() == 1 { |number: f32| number } else { rounded_to_half };
            let extend = |numbers: &[f32]| {
                expected.extend(numbers.iter().map(|number| keep(*number)));
                Ok(())
            };
            stored.read_floats(parameter, extend).unwrap();
        }
        assert_eq!(*found, expected, "{name} in a file of {}", exported.architecture);
    }
    assert_eq!(tensors.len(), stored.parameters().len() + num_scales);
}

#[test]
fn the_package_gguf_reads_what_we_wrote_and_makes_the_same_numbers_of_it() {
    let Some(python) = python() else {
        println!("skipped: no python3 with the package gguf; BITNET_PYTHON names one");
        return;
    };
    for model in [config(), relu2(), llama()] {
        for projections in [ProjectionType::Tq1_0, ProjectionType::Tq2_0] {
            for scaling in [Scaling::Beside, Scaling::InBlocks] {
                compare(&python, &model, projections, scaling);
            }
        }
    }
}
