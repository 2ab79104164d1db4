//! The two halves are joined here: the training half's decoder, in libtorch, and the packed engine compute the same from the same folder.
//!
//! Both read the same texts. Each sums in an order of its own, so that their logits differ by roundings; and a rounding may move an activation
//! to its next code, which is seen in the logits of its position and of later ones. How far one such code reaches is measured on each model
//! (`parity::reach_of_a_code`), and how rarely it happens is counted: no processor's roundings decide whether a test passes. A weight's code that is
//! moved is seen nearly everywhere, and has to be noticed.
#![cfg(feature = "torch")]

mod parity;

use bitnet::config::{
    Activation, ActivationQuantizer, Attention, BitLinearConfig, LatentAttention, ModelConfig, NormPlacement, OptimizerConfig,
    WeightQuantizer,
};
use bitnet::data::IGNORED_TARGET;
use bitnet::inference::{Chunk, LoadOptions, Model, Wanted};
use bitnet::libtorch::TensorFile;
use bitnet::model::{Decoder, Sampler, SamplingOptions, generate};
use bitnet::optimizer::Adamw;
use bitnet::ternary::packing::pack;
use bitnet::ternary::weights::{TernaryMatrix, sign, ternary_absmean};
use bitnet::train::{StepNumbers, take_step};
use parity::{Comparison, ROUNDING, floats, fresh, limit, logits};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tch::Tensor;
use tempfile::TempDir;

const OPTIONS: BitLinearConfig = BitLinearConfig {
    weights: WeightQuantizer::TernaryAbsmean,
    activations: ActivationQuantizer::Int8Absmax,
    norm: NormPlacement::Outside,
};

fn attentions() -> [Attention; 3] {
    let sizes = |q_lora_rank| LatentAttention { q_lora_rank, kv_lora_rank: 12, qk_nope_head_dim: 6, qk_rope_head_dim: 4, v_head_dim: 8 };
    [Attention::GroupedQuery, Attention::Latent(sizes(Some(14))), Attention::Latent(sizes(None))]
}

fn config(bit_linear: BitLinearConfig, attention: Attention, bits: u32) -> ModelConfig {
    ModelConfig {
        vocab_size: 29,
        hidden_size: 40,
        intermediate_size: 56,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: if attention == Attention::GroupedQuery { 2 } else { 4 },
        max_position_embeddings: 128,
        rope_theta: 10000.0,
        rms_norm_eps: 1e-5,
        hidden_act: if bits & 1 == 0 { Activation::Relu2 } else { Activation::Silu },
        tie_word_embeddings: bits & 2 == 0,
        initializer_range: 0.2,
        attention,
        sub_norms: bits & 4 == 0,
        bit_linear,
    }
}

/// Writes a folder of the decoder's parameters, as a checkpoint has them; `more` goes into its config.json.
fn write_folder(dir: &Path, config: &ModelConfig, more: Option<serde_json::Value>, tensors: &BTreeMap<String, Tensor>) {
    let mut json = config.to_hugging_face(Default::default()).unwrap();
    json.as_object_mut().unwrap().extend(more.map(|more| ("quantization_config".to_owned(), more)));
    fs::write(dir.join("config.json"), json.to_string()).unwrap();
    let mut file = fs::File::create(dir.join("model.safetensors")).unwrap();
    let tensors = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
    TensorFile::new(tensors).unwrap().write_to(&mut file).unwrap();
}

fn load(dir: &TempDir) -> Model {
    Model::load(dir.path(), &LoadOptions { num_threads: 2, ..LoadOptions::default() }).unwrap()
}

/// The engine on the decoder's parameters.
fn engine(config: &ModelConfig, parameters: &BTreeMap<String, Tensor>) -> (TempDir, Model) {
    let dir = tempfile::tempdir().unwrap();
    write_folder(dir.path(), config, None, parameters);
    let model = load(&dir);
    (dir, model)
}

/// The same with packed codes, of which one is moved by one: that of a weight in the middle of a projection, by layer and name.
fn packed_engine(config: &ModelConfig, parameters: &BTreeMap<String, Tensor>, moved: Option<(usize, &str)>) -> (TempDir, Model) {
    let moved = moved.map(|(layer, projection)| format!("model.layers.{layer}.{projection}.weight"));
    let mut tensors = BTreeMap::new();
    for (name, tensor) in parameters {
        if !(name.contains(".layers.") && tensor.dim() == 2) {
            tensors.insert(name.clone(), tensor.shallow_clone());
            continue;
        }
        let [rows, columns] = [0, 1].map(|axis| tensor.size()[axis] as usize);
        let numbers = floats(tensor);
        let quantized = match config.bit_linear.weights {
            WeightQuantizer::TernaryAbsmean => ternary_absmean(&numbers),
            WeightQuantizer::Sign => sign(&numbers),
            WeightQuantizer::None => panic!("no codes to pack"),
        };
        let TernaryMatrix { mut codes, scale } = quantized.unwrap();
        if moved.as_ref() == Some(name) {
            let code = &mut codes[rows / 2 * columns + columns / 2];
            *code += if *code > 0 { -1 } else { 1 };
        }
        let packed = pack(&codes, rows, columns).unwrap();
        tensors.insert(name.clone(), Tensor::from_slice(&packed).view([-1, columns as i64]));
        tensors.insert(format!("{name}_scale"), Tensor::from_slice(&[scale]));
    }
    let dir = tempfile::tempdir().unwrap();
    let packed = serde_json::json!({"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"});
    write_folder(dir.path(), config, Some(packed), &tensors);
    let model = load(&dir);
    (dir, model)
}

/// The same by the engine: all texts in one pass.
fn logits_of_the_engine(model: &Model, texts: &[Vec<u32>]) -> Vec<f32> {
    let mut caches: Vec<_> = texts.iter().map(|text| model.new_cache(text.len()).unwrap()).collect();
    let chunk = |(cache, tokens)| Chunk { cache, tokens, logits: Wanted::All };
    let mut chunks: Vec<_> = caches.iter_mut().zip(texts.iter().map(Vec::as_slice)).map(chunk).collect();
    model.forward(&mut chunks, &mut model.new_workspace(texts.concat().len())).unwrap().to_vec()
}

/// The same of one text, token by token.
fn logits_one_by_one(model: &Model, text: &[u32]) -> Vec<f32> {
    let (mut cache, mut workspace) = (model.new_cache(text.len()).unwrap(), model.new_workspace(1));
    text.iter().flat_map(|token| model.read(&[*token], &mut cache, &mut workspace).unwrap().to_vec()).collect()
}

fn variants() -> Vec<ModelConfig> {
    let mut all = Vec::new();
    for &weights in WeightQuantizer::ALL {
        for &activations in ActivationQuantizer::ALL {
            for &norm in NormPlacement::ALL {
                for (attention, bits) in attentions().into_iter().flat_map(|attention| (0..8).map(move |bits| (attention, bits))) {
                    all.push(config(BitLinearConfig { weights, activations, norm }, attention, bits));
                }
            }
        }
    }
    all
}

fn text_of_variants() -> Vec<u32> {
    (0..24).map(|index| (index * index * 5 + index) % 29).collect()
}

fn compared(model: &Model, decoder: &Decoder, texts: &[Vec<u32>]) -> Comparison {
    Comparison::new(&logits_of_the_engine(model, texts), &logits(decoder, texts), model.config().vocab_size)
}

/// With other weights a rounding moves other codes, and mostly none.
const MAX_TRIES: u64 = 8;

/// How many random models were tried until the halves agreed to a rounding, and how closely they did.
fn tries_until_equal(config: &ModelConfig, text: &[u32]) -> (u64, f64) {
    for seed in 1..=MAX_TRIES {
        let (parameters, decoder) = fresh(config, seed);
        let found = compared(&engine(config, &parameters).1, &decoder, &[text.to_vec()]);
        if found.largest < ROUNDING {
            return (seed, found.largest);
        }
        let limit = limit(config, &parameters, text);
        assert!(found.largest < limit, "seed {seed}: {:.2e} apart, a moved code explains {limit:.2e}: {config:?}", found.largest);
    }
    panic!("{MAX_TRIES} models and none agrees to a rounding: {config:?}");
}

#[test]
fn the_engine_and_the_decoder_agree_on_every_variant() {
    tch::set_num_threads(1); // for matrices of forty rows
    let tries: Vec<(u64, f64)> = variants().iter().map(|config| tries_until_equal(config, &text_of_variants())).collect();
    let (num_at_once, worst) = (tries.iter().filter(|(count, _)| *count == 1).count(), tries.iter().map(|it| it.1).fold(0.0, f64::max));
    println!("{num_at_once} of {} variants agree at once, all to {worst:.1e} of the largest logit", tries.len());
    assert!(num_at_once > tries.len() * 3 / 4, "only {num_at_once} of {}", tries.len());
}

#[test]
fn one_moved_code_of_a_weight_is_noticed_in_every_variant() {
    tch::set_num_threads(1);
    let quantized = variants().into_iter().filter(|config| config.bit_linear.weights.has_codes());
    let mut least = f64::INFINITY;
    for (index, config) in quantized.enumerate() {
        let (parameters, decoder) = fresh(&config, 1);
        let projections = config.projections();
        let projection = projections[index / 2 % projections.len()].name;
        let (_dir, model) = packed_engine(&config, &parameters, Some((index % 2, projection)));
        let found = compared(&model, &decoder, &[text_of_variants()]);
        assert!(found.largest > ROUNDING, "{projection}: {:.1e} apart: {config:?}", found.largest);
        least = least.min(found.largest);
    }
    println!("a moved code takes logits {least:.1e} of the largest apart, or more");
}

/// A few steps on texts that count up by 1, 2, 3 and 4.
fn train(parameters: &BTreeMap<String, Tensor>, decoder: &Decoder) {
    let optimizer = OptimizerConfig {
        learning_rate: 0.01,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.0,
        decay_norms: false,
        decay_embeddings: false,
    };
    let ids: Vec<i64> = (0..4).flat_map(|row| (0..33).map(move |place| place * (row + 1) % 29)).collect();
    let ids = Tensor::from_slice(&ids).view([4, 33]);
    let (ids, targets) = (ids.narrow(1, 0, 32), ids.narrow(1, 1, 32));
    let mut adamw = Adamw::new(parameters, &optimizer);
    for _ in 0..40 {
        let loss = [Ok(decoder.next_token_loss(&ids, &targets, IGNORED_TARGET))];
        take_step(&mut adamw, loss.into_iter(), StepNumbers { learning_rate: 0.01, weight_decay: 0.0, max_grad_norm: 1.0 }).unwrap();
    }
}

/// A model that learned a little, and what it says: the decoder's greedy texts.
struct Trained {
    config: ModelConfig,
    parameters: BTreeMap<String, Tensor>,
    decoder: Decoder,
    /// Many short ones: in most of them no code is moved by a rounding.
    short: Vec<Vec<u32>>,
    /// Few long ones.
    long: Vec<Vec<u32>>,
}

impl Trained {
    fn new(attention: Attention, norm: NormPlacement, seed: u64) -> Self {
        let config = config(BitLinearConfig { norm, ..OPTIONS }, attention, seed as u32);
        let (parameters, decoder) = fresh(&config, seed);
        train(&parameters, &decoder);
        let short = (0..29).map(|token| continued(&decoder, &[token], 11)).collect();
        let long = [&[0, 3, 6, 9][..], &[1, 2, 3, 4, 5, 6, 7], &[28]].map(|prompt| continued(&decoder, prompt, 64)).to_vec();
        Self { config, parameters, decoder, short, long }
    }

    fn all() -> impl Iterator<Item = Self> {
        let seeded = (0..).zip(attentions());
        seeded.flat_map(|(seed, attention)| {
            [NormPlacement::Outside, NormPlacement::Inside].into_iter().map(move |norm| Self::new(attention, norm, seed))
        })
    }

    fn what(&self) -> String {
        format!("{:?} {:?}", self.config.bit_linear.norm, self.config.attention)
    }

    /// The long texts, token by token.
    fn compared_one_by_one(&self, model: &Model) -> Comparison {
        let compare = |text: &Vec<u32>| {
            let expected = logits(&self.decoder, std::slice::from_ref(text));
            Comparison::new(&logits_one_by_one(model, text), &expected, self.config.vocab_size)
        };
        self.long.iter().map(compare).reduce(Comparison::and).unwrap()
    }
}

/// `prompt` and the likeliest tokens behind it.
fn continued(decoder: &Decoder, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut text = prompt.to_vec();
    let keep = |id| {
        text.push(id);
        true
    };
    generate(decoder, prompt, 128, count, &mut Sampler::new(SamplingOptions::GREEDY), keep).unwrap();
    text
}

/// Why the halves do not compute the same on many short texts; none if they do. Codes that roundings move are few.
fn objection(short: Comparison, limit: f64) -> Option<String> {
    let is_rare = |count: usize| count * MOST_APART <= short.positions;
    let is_same = short.largest <= limit && short.largest_gap <= limit && is_rare(short.apart);
    (!is_same).then(|| format!("{short}, where a moved code explains {limit:.1e} at one position in {MOST_APART}"))
}

/// Of so many positions of short texts one may have moved codes before it.
const MOST_APART: usize = 5;
/// Of so many positions of all texts one may have another likeliest token, as near to the first as moved codes explain.
const MOST_OTHER: usize = 20;

#[test]
fn models_that_learned_a_little_find_the_same_tokens_likeliest() {
    tch::set_num_threads(1);
    let mut all = Comparison::default();
    for trained in Trained::all() {
        let (_dir, model) = engine(&trained.config, &trained.parameters);
        let (short, long) = (compared(&model, &trained.decoder, &trained.short), trained.compared_one_by_one(&model));
        let limit = limit(&trained.config, &trained.parameters, &trained.long[1]);
        println!("{}: a moved code explains {limit:.1e}; short {short}; long {long}", trained.what());
        assert_eq!(objection(short, limit), None, "{}", trained.what());
        assert!(long.largest <= limit && long.largest_gap <= limit, "{}: {long}, where {limit:.1e} is explained", trained.what());
        all = all.and(short).and(long);
    }
    println!("another likeliest token at {} of {} positions, {} of which moved codes reach", all.other_token, all.positions, all.apart);
    assert!(all.other_token * MOST_OTHER <= all.positions, "{all}");
}

#[test]
fn one_moved_code_of_a_weight_is_noticed() {
    tch::set_num_threads(1);
    let mut fewest = usize::MAX;
    for trained in Trained::all() {
        let Trained { config, parameters, decoder, short, .. } = &trained;
        let limit = limit(config, parameters, &trained.long[1]);
        let same = packed_engine(config, parameters, None).1;
        assert_eq!(objection(compared(&same, decoder, short), limit), None, "{}", trained.what());
        for (layer, shape) in [0, 1].into_iter().flat_map(|layer| config.projections().into_iter().map(move |shape| (layer, shape))) {
            let found = compared(&packed_engine(config, parameters, Some((layer, shape.name))).1, decoder, short);
            assert!(objection(found, limit).is_some(), "{}: {layer}.{} is not noticed: {found}", trained.what(), shape.name);
            fewest = fewest.min(found.apart);
        }
    }
    println!("a moved code of a weight is seen at {fewest} positions of 348, or more");
}
