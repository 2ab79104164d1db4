//! Weights in files: what is saved is what is loaded, other readers agree, and a file that does not fit is refused by name. Published
//! model folders that lie beside the project are compared with what transformers computed for them.
#![cfg(feature = "torch")]

mod recorded;

use bitnet::config::{ModelConfig, Precision};
use bitnet::libtorch::{TensorFile, load_tensors};
use bitnet::model::{Decoder, Sampler, SamplingOptions, generate, load_decoder};
use recorded::{Recorded, assert_near, bits};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

type Tensors = BTreeMap<String, Tensor>;

fn config() -> ModelConfig {
    let variants: BTreeMap<String, ModelConfig> = serde_json::from_str(include_str!("reference/decoder.json")).unwrap();
    variants["microsoft"].clone()
}

fn parameters() -> Tensors {
    bitnet::libtorch::random::seed(6).unwrap();
    let store = VarStore::new(Device::Cpu);
    Decoder::new(&store.root(), &config(), Precision::Float32);
    store.variables().into_iter().collect()
}

fn write(tensors: Tensors, path: &Path) {
    TensorFile::new(tensors).unwrap().write_to(&mut fs::File::create(path).unwrap()).unwrap();
}

/// A model folder with config.json and these weights.
fn folder(tensors: Tensors) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = config().to_hugging_face(Default::default()).unwrap().to_string();
    fs::write(dir.path().join("config.json"), text).unwrap();
    write(tensors, &dir.path().join("model.safetensors"));
    dir
}

fn load_error(dir: &Path) -> String {
    let error = load_decoder(dir, Device::Cpu, Precision::Float32).map(|_| ()).unwrap_err();
    assert_eq!(error.exit_status(), 2, "{error}");
    let message = error.to_string();
    assert!(message.contains("model.safetensors"), "{message}");
    message
}

#[test]
fn what_is_saved_is_loaded_bit_for_bit_and_other_readers_agree() {
    let mut tensors = parameters();
    tensors.insert("awkward".into(), Tensor::from_slice(&[f32::NAN, -0.0, f32::INFINITY, 1e-45, f32::MAX]));
    tensors.insert("bf16".into(), Tensor::from_slice(&[1.5f32, -0.1]).to_kind(Kind::BFloat16));
    tensors.insert("codes".into(), Tensor::from_slice(&[-1i8, 0, 1]));
    tensors.insert("scalar".into(), Tensor::from(2.5f32));
    tensors.insert("turned".into(), Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3]).transpose(0, 1));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let file = TensorFile::new(tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))).unwrap();
    let mut bytes = Vec::new();
    file.write_to(&mut bytes).unwrap();
    assert_eq!(file.size(), bytes.len() as u64);
    fs::write(&path, &bytes).unwrap();
    let loaded = load_tensors(&path).unwrap();
    assert!(loaded.keys().eq(tensors.keys()));
    let read = SafeTensors::deserialize(&bytes).unwrap();
    for (name, tensor) in &tensors {
        assert_eq!((loaded[name].size(), loaded[name].kind()), (tensor.size(), tensor.kind()), "{name}");
        assert_eq!(bits(&loaded[name]), bits(tensor), "{name}");
        let view = read.tensor(name).unwrap();
        assert_eq!(view.shape().iter().map(|&size| size as i64).collect::<Vec<_>>(), tensor.size(), "{name}");
        if view.dtype() == Dtype::F32 {
            let theirs: Vec<u32> = view.data().chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect();
            assert_eq!(theirs, bits(tensor), "{name}");
        }
    }
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
}

#[test]
fn a_saved_model_computes_what_it_computed_before() {
    let store = VarStore::new(Device::Cpu);
    let decoder = Decoder::new(&store.root(), &config(), Precision::Float32);
    let dir = folder(store.variables().into_iter().collect());
    let (loaded_config, loaded) = load_decoder(dir.path(), Device::Cpu, Precision::Float32).unwrap();
    assert_eq!(loaded_config, config());
    let ids = Recorded::open("decoder").get("microsoft/ids");
    no_grad(|| assert_eq!(bits(&decoder.forward(&ids)), bits(&loaded.forward(&ids))));
}

#[test]
fn a_tensor_that_is_missing_or_of_another_shape_or_type_is_named() {
    const NAME: &str = "model.layers.1.mlp.up_proj.weight";
    let changed = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = parameters();
        change(&mut tensors);
        load_error(folder(tensors).path())
    };
    let replaced = |tensor: Tensor| changed(&|tensors| drop(tensors.insert(NAME.into(), tensor.copy())));
    let message = changed(&|tensors| drop(tensors.remove(NAME)));
    assert!(message.contains(NAME) && message.contains("missing"), "{message}");
    for (tensor, part) in [
        (Tensor::zeros([32, 48], (Kind::Float, Device::Cpu)), "[32, 48]"),
        (Tensor::zeros([48 * 32], (Kind::Float, Device::Cpu)), "[1536]"),
        (Tensor::zeros([48, 32], (Kind::BFloat16, Device::Cpu)), "BFloat16"),
        (Tensor::zeros([48, 32], (Kind::Uint8, Device::Cpu)), "Uint8"),
    ] {
        let message = replaced(tensor);
        assert!(message.contains(NAME) && message.contains(part) && message.contains("[48, 32]"), "{message}");
    }
}

#[test]
fn a_type_that_is_not_used_here_is_named_with_its_tensor() {
    let dir = folder(parameters());
    let data = [0u8; 4];
    let view = TensorView::new(Dtype::F16, vec![2], &data).unwrap();
    fs::write(dir.path().join("model.safetensors"), safetensors::serialize([("half.weight", view)], None).unwrap()).unwrap();
    let message = load_error(dir.path());
    assert!(message.contains("half.weight") && message.contains("F16"), "{message}");
}

#[test]
fn a_file_that_ends_early_or_is_garbage_is_an_error_that_names_it() {
    let dir = folder(parameters());
    let path = dir.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let lengths =
        (0..16).chain([header - 1, header, header + 1]).chain((1..20).map(|part| whole.len() * part / 20)).chain([whole.len() - 1]);
    for length in lengths {
        fs::write(&path, &whole[..length]).unwrap();
        load_error(dir.path());
    }
    let mut longer = whole.clone();
    longer.push(0);
    let mut zeros = whole.clone();
    zeros[..header].fill(0);
    let mut endless = whole.clone();
    endless[..8].fill(0xff);
    for garbage in [b"garbage, and no header at all".to_vec(), longer, zeros, endless, vec![0xff; 1000]] {
        fs::write(&path, garbage).unwrap();
        load_error(dir.path());
    }
    fs::remove_file(&path).unwrap();
    load_error(dir.path());
}

/// A published folder in the directory of shared material, if there is one.
fn golden(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("BITNET_SHARED").map_or_else(|| PathBuf::from("../shared"), PathBuf::from);
    let dir = shared.join("golden").join(name);
    if !dir.is_dir() {
        eprintln!("skipped: {} is not there", dir.display());
    }
    dir.is_dir().then_some(dir)
}

#[test]
fn published_models_give_the_logits_and_the_greedy_text_of_transformers() {
    for dir in ["microsoft-master-f32", "onebitllm-f32"].into_iter().filter_map(golden) {
        let (config, decoder) = load_decoder(&dir, Device::Cpu, Precision::Float32).unwrap();
        let expected = load_tensors(&dir.join("expected.safetensors")).unwrap();
        let ids = &expected["input_ids"];
        assert_near(&no_grad(|| decoder.forward(ids)), &expected["logits"], 1e-5, &dir.display().to_string());
        let prompt: Vec<u32> = Vec::<i64>::try_from(ids.get(0)).unwrap().into_iter().map(|id| id as u32).collect();
        let wanted = Vec::<i64>::try_from(expected["greedy"].get(0)).unwrap();
        let mut text: Vec<i64> = prompt.iter().map(|&id| i64::from(id)).collect();
        let count = wanted.len() - text.len();
        generate(&decoder, &prompt, config.max_position_embeddings, count, &mut Sampler::new(SamplingOptions::GREEDY), |token| {
            text.push(i64::from(token));
            true
        })
        .unwrap();
        assert_eq!(text, wanted, "{}", dir.display());
    }
}

#[test]
fn names_of_1bitllm_are_understood() {
    let theirs =
        |name: &str| name.replace("self_attn.attn_sub_norm", "self_attn.inner_attn_ln").replace("mlp.ffn_sub_norm", "mlp.ffn_layernorm");
    let renamed: Tensors = parameters().into_iter().map(|(name, tensor)| (theirs(&name), tensor)).collect();
    assert_eq!(renamed.keys().filter(|name| name.contains("inner_attn_ln") || name.contains("ffn_layernorm")).count(), 4);
    assert!(load_decoder(folder(renamed).path(), Device::Cpu, Precision::Float32).is_ok());
}
