//! Claims about model folders: layouts of the same model compute the same, and what is damaged or does not fit is one clear error.

use super::test_folder::{Stored, Tensors, as_f32, folder_of, random_tensors, small, small_latent, write_folder, write_tensors};
use super::{Chunk, Engine, LoadOptions, Model, Wanted};
use crate::config::{BitLinearConfig, ModelConfig, WeightQuantizer};
use crate::random::Random;
use crate::ternary::packing::{num_packed_rows, pack};
use crate::ternary::weights::ternary_absmean;
use crate::tokenizer::Tokenizer;
use safetensors::Dtype;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const Q_PROJ: &str = "model.layers.1.self_attn.q_proj.weight";
const Q_SCALE: &str = "model.layers.1.self_attn.q_proj.weight_scale";

fn config(model: &ModelConfig) -> Value {
    model.to_hugging_face(Default::default()).unwrap()
}

fn stored(tensors: &Tensors) -> BTreeMap<String, Stored> {
    tensors.iter().map(|(name, tensor)| (name.clone(), as_f32(tensor))).collect()
}

fn load(dir: &Path) -> crate::Result<Model> {
    Model::load(dir, &LoadOptions { num_threads: 1, ..LoadOptions::default() })
}

fn logits(dir: &Path) -> Vec<f32> {
    let model = load(dir).unwrap();
    let (mut cache, mut workspace) = (model.new_cache(8).unwrap(), model.new_workspace(8));
    let chunk = Chunk { cache: &mut cache, tokens: &[3, 1, 4, 1, 5, 9, 2, 6], logits: Wanted::All };
    model.forward(&mut [chunk], &mut workspace).unwrap().to_vec()
}

#[track_caller]
fn refusal(dir: &Path) -> String {
    let error = load(dir).unwrap_err();
    assert_eq!(error.exit_status(), 2, "{error}");
    error.to_string()
}

/// The tensors with projections as packed codes, and what `scale` makes of each scale.
fn packed(model: &ModelConfig, tensors: &Tensors, scale: impl Fn(f32) -> f32) -> BTreeMap<String, Stored> {
    let mut packed = stored(tensors);
    for (name, (shape, numbers)) in tensors.iter().filter(|(name, (shape, _))| name.contains(".layers.") && shape.len() == 2) {
        let matrix = ternary_absmean(numbers).unwrap();
        let bytes = pack(&matrix.codes, shape[0], shape[1]).unwrap();
        packed.insert(name.clone(), (Dtype::U8, vec![num_packed_rows(shape[0]), shape[1]], bytes));
        packed.insert(format!("{name}_scale"), as_f32(&(vec![1], vec![scale(matrix.scale)])));
    }
    assert_eq!(packed.len(), tensors.len() + model.num_hidden_layers * model.projections().len());
    packed
}

fn packed_config(model: &ModelConfig, linear_class: Option<&str>) -> Value {
    let mut config = config(model);
    config["quantization_config"] = json!({"quant_method": "bitnet", "linear_class": linear_class, "quantization_mode": "offline"});
    config
}

#[test]
fn packed_codes_compute_what_latent_weights_do_whichever_way_their_scale_applies() {
    for model in [small(), small_latent(None)] {
        let tensors = random_tensors(&model, 1);
        let expected = logits(write_folder(&model, &tensors).path());
        let multiply = folder_of(&packed_config(&model, Some("autobitlinear")), &packed(&model, &tensors, |scale| scale));
        assert_eq!(logits(multiply.path()), expected);
        for linear_class in [Some("bitlinear"), None] {
            let divide = folder_of(&packed_config(&model, linear_class), &packed(&model, &tensors, |scale| 1.0 / scale));
            let apart =
                logits(divide.path()).iter().zip(&expected).fold(0f32, |most, (found, expected)| most.max((found - expected).abs()));
            assert!(apart < 0.05, "{apart}");
        }
    }
}

#[test]
fn a_folder_in_shards_is_the_folder_in_one_file() {
    let (model, tensors) = (small(), random_tensors(&small(), 2));
    let whole = write_folder(&model, &tensors);
    let sharded = tempfile::tempdir().unwrap();
    let (mut shards, mut weight_map) = ([BTreeMap::new(), BTreeMap::new()], BTreeMap::new());
    for (index, (name, tensor)) in stored(&tensors).into_iter().enumerate() {
        weight_map.insert(name.clone(), format!("model-0000{}-of-00002.safetensors", index % 2 + 1));
        shards[index % 2].insert(name, tensor);
    }
    for (index, shard) in shards.iter().enumerate() {
        write_tensors(&sharded.path().join(format!("model-0000{}-of-00002.safetensors", index + 1)), shard);
    }
    let index = |weight_map: &BTreeMap<String, String>| {
        fs::write(sharded.path().join("model.safetensors.index.json"), json!({"weight_map": weight_map}).to_string()).unwrap();
    };
    fs::copy(whole.path().join("config.json"), sharded.path().join("config.json")).unwrap();
    index(&weight_map);
    assert_eq!(logits(sharded.path()), logits(whole.path()));
    index(&weight_map.iter().map(|(name, file)| (name.clone(), format!("../{file}"))).collect());
    assert!(refusal(sharded.path()).contains("names no file of the folder"));
    weight_map.insert("model.more.weight".into(), "model-00001-of-00002.safetensors".into());
    index(&weight_map);
    assert!(refusal(sharded.path()).contains("tensor model.more.weight is in none of the files"));
    fs::remove_file(sharded.path().join("model-00002-of-00002.safetensors")).unwrap();
    assert!(refusal(sharded.path()).contains("model-00002-of-00002.safetensors"));
}

#[test]
fn names_and_types_of_published_files_are_understood() {
    let model = small();
    // Numbers that half precision holds exactly.
    let rounded = |number: &f32| (number * 64.0).round() / 64.0;
    let tensors: Tensors = random_tensors(&model, 3)
        .into_iter()
        .map(|(name, (shape, numbers))| (name, (shape, numbers.iter().map(rounded).collect::<Vec<f32>>())))
        .collect();
    let expected = logits(write_folder(&model, &tensors).path());
    let half = |number: f32| match number == 0.0 {
        true => 0,
        false => (number.to_bits() >> 16 & 0x8000 | ((number.to_bits() >> 13 & 0x3ffff) - (112 << 10))) as u16,
    };
    let published = |name: &String| {
        name.replace(".self_attn.attn_sub_norm.", ".self_attn.inner_attn_ln.").replace(".mlp.ffn_sub_norm.", ".mlp.ffn_layernorm.")
    };
    let as_f16 = |(shape, numbers): &(Vec<usize>, Vec<f32>)| -> Stored {
        (Dtype::F16, shape.clone(), numbers.iter().flat_map(|&number| half(number).to_le_bytes()).collect())
    };
    let mut files: BTreeMap<String, Stored> = tensors.iter().map(|(name, tensor)| (published(name), as_f16(tensor))).collect();
    files.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), as_f32(&(vec![6], vec![1.0; 6])));
    files.insert("lm_head.weight".into(), files["model.embed_tokens.weight"].clone());
    assert_eq!(logits(folder_of(&config(&model), &files).path()), expected);
}

/// A folder of packed codes in which one tensor is another.
fn refusal_of(change: impl FnOnce(&mut BTreeMap<String, Stored>)) -> String {
    let (model, tensors) = (small(), random_tensors(&small(), 4));
    let mut files = packed(&model, &tensors, |scale| scale);
    change(&mut files);
    refusal(folder_of(&packed_config(&model, Some("autobitlinear")), &files).path())
}

#[test]
fn scales_that_are_none_are_refused() {
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let message = refusal_of(|files| _ = files.insert(Q_SCALE.into(), as_f32(&(vec![1], vec![scale]))));
        assert!(message.contains(Q_SCALE) && message.contains("model.safetensors") && message.contains("hint: "), "{message}");
    }
    assert!(refusal_of(|files| _ = files.remove(Q_SCALE)).contains(&format!("tensor {Q_SCALE} is missing")));
    let message = refusal_of(|files| _ = files.insert(Q_SCALE.into(), as_f32(&(vec![2], vec![1.0; 2]))));
    assert!(message.contains("has shape [2], expected one number"), "{message}");
    // The inverse of the smallest numbers is no number.
    let (model, tensors) = (small(), random_tensors(&small(), 4));
    let files = packed(&model, &tensors, |_| 1e-45);
    assert!(refusal(folder_of(&packed_config(&model, None), &files).path()).contains("no scale"));
}

#[test]
fn tensors_that_do_not_fit_their_config_are_refused() {
    assert!(refusal_of(|files| _ = files.remove(Q_PROJ)).contains(&format!("tensor {Q_PROJ} is missing")));
    let message = refusal_of(|files| _ = files.insert(Q_PROJ.into(), (Dtype::U8, vec![12, 40], vec![0; 480])));
    assert!(message.contains("has shape [12, 40], expected [12, 48]"), "{message}");
    let message = refusal_of(|files| _ = files.insert(Q_PROJ.into(), (Dtype::I8, vec![48, 48], vec![0; 48 * 48])));
    assert!(message.contains("has type I8, expected F32, BF16 or F16"), "{message}");
    let message = refusal_of(|files| _ = files.insert("model.norm.weight".into(), as_f32(&(vec![48], vec![f32::NAN; 48]))));
    assert!(message.contains("tensor model.norm.weight holds NaN at position 0"), "{message}");
    let message = refusal_of(|files| _ = files.insert("model.layers.0.mlp.up_proj.bias".into(), as_f32(&(vec![70], vec![0.0; 70]))));
    assert!(message.contains("tensor model.layers.0.mlp.up_proj.bias has no place in the model"), "{message}");
    let message = refusal_of(|files| files.get_mut(Q_PROJ).unwrap().2[7] = 0b1100);
    assert!(message.contains(Q_PROJ) && message.contains("bits 3 are no ternary code"), "{message}");
}

#[test]
fn codes_without_a_direction_or_in_a_model_that_has_none_are_refused() {
    let (model, tensors) = (small(), random_tensors(&small(), 5));
    let files = packed(&model, &tensors, |scale| scale);
    assert!(refusal(folder_of(&config(&model), &files).path()).contains("does not say how weight_scale applies"));
    let plain = ModelConfig { bit_linear: BitLinearConfig { weights: WeightQuantizer::None, ..model.bit_linear }, ..model };
    assert!(refusal(folder_of(&config(&plain), &files).path()).contains("weights are not quantized"));
}

#[test]
fn quantized_values_are_not_quantized_again() {
    let (model, mut tensors) = (small(), random_tensors(&small(), 6));
    let (_, numbers) = tensors.get_mut(Q_PROJ).unwrap();
    *numbers = ternary_absmean(numbers).unwrap().values();
    let message = refusal(write_folder(&model, &tensors).path());
    assert!(message.contains(Q_PROJ) && message.contains("quantized already") && message.contains("hint: "), "{message}");
    tensors.get_mut(Q_PROJ).unwrap().1.fill(0.0);
    assert!(load(write_folder(&model, &tensors).path()).is_ok(), "zeros stay zeros");
}

#[test]
fn a_tokenizer_with_more_tokens_than_the_embedding_is_refused() {
    let dir = write_folder(&small(), &random_tensors(&small(), 7));
    let options = LoadOptions { num_threads: 1, ..LoadOptions::default() };
    assert!(Engine::load(dir.path(), &options).unwrap_err().to_string().contains("tokenizer.json"));
    for (size, is_fine) in [(37, true), (38, false)] {
        let tokenizer = Tokenizer::characters("abc", size).unwrap().to_json().unwrap();
        fs::write(dir.path().join("tokenizer.json"), tokenizer).unwrap();
        assert_eq!(Engine::load(dir.path(), &options).is_ok(), is_fine);
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let dir = write_folder(&small(), &random_tensors(&small(), 8));
    let path = dir.path().join("model.safetensors");
    let good = fs::read(&path).unwrap();
    let header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &[0; 64]].concat();
    let tensor = |shape: &str, offsets: &str| format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#);
    let mut wrong: Vec<Vec<u8>> = [0, 1, 7, 8, 100, good.len() / 2, good.len() - 1].map(|length| good[..length].to_vec()).to_vec();
    wrong.push([&good[..], &[0]].concat());
    for length in [u64::MAX, 1 << 63, (1 << 63) - 1, 99_999_999] {
        wrong.push([&length.to_le_bytes()[..], &good[8..]].concat());
    }
    for (shape, offsets) in [
        ("[16]", "[8,72]"),
        ("[16]", "[0,9223372036854775807]"),
        ("[16]", "[64,0]"),
        ("[9223372036854775807,4]", "[0,64]"),
        ("[4294967296,4294967296]", "[0,0]"),
        ("[-1]", "[0,64]"),
        ("[15]", "[0,64]"),
    ] {
        wrong.push(header(&tensor(shape, offsets)));
    }
    wrong
        .push(header(r#"{"a":{"dtype":"F32","shape":[12],"data_offsets":[0,48]},"b":{"dtype":"F32","shape":[8],"data_offsets":[32,64]}}"#));
    for bytes in wrong {
        fs::write(&path, bytes).unwrap();
        let message = refusal(dir.path());
        assert!(message.contains("model.safetensors is no valid safetensors file"), "{message}");
    }
    fs::remove_file(&path).unwrap();
    assert!(refusal(dir.path()).contains("reading "));
}

#[test]
fn random_damage_never_panics() {
    let model = small();
    let dir = folder_of(&packed_config(&model, None), &packed(&model, &random_tensors(&model, 9), |scale| 1.0 / scale));
    damage(dir.path());
}

/// Changes bytes of the folder's files at random, again and again, and uses what loads.
pub(super) fn damage(dir: &Path) {
    let mut random = Random::derive(1, "damage", 0);
    let mut num_refused = 0;
    for round in 0..1500 {
        let path = dir.join(if round % 3 == 0 { "config.json" } else { "model.safetensors" });
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        let reach = if random.below(2) == 0 { bytes.len() as u64 } else { 6000.min(bytes.len() as u64) };
        for _ in 0..1 + random.below(4) {
            bytes[random.below(reach) as usize] = [random.next_u64() as u8, b'9', b'0', b'"', 0xff][random.below(5) as usize];
        }
        bytes.truncate(if random.below(8) == 0 { random.below(reach) as usize } else { bytes.len() });
        fs::write(&path, &bytes).unwrap();
        match load(dir) {
            Err(error) => num_refused += usize::from(!error.to_string().is_empty()),
            Ok(model) => {
                let (mut cache, mut workspace) = (model.new_cache(4).unwrap(), model.new_workspace(4));
                let _ = model.forward(&mut [Chunk { cache: &mut cache, tokens: &[0, 1], logits: Wanted::All }], &mut workspace);
            }
        }
        fs::write(&path, good).unwrap();
    }
    assert!(num_refused > 500, "{num_refused}");
}
