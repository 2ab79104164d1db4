//! Starting a run from a model folder: what is taken over, what is refused before the run exists, and that a resume does not start again.
#![cfg(feature = "torch")]

mod tiny;

use bitnet::Result;
use bitnet::config::{
    Activation, ActivationQuantizer, Experiment, ModelConfig, NormPlacement, Overrides, Precision, WeightQuantizer, load,
};
use bitnet::libtorch::{TensorFile, load_tensors};
use bitnet::model::{Decoder, InitialWeights, quantize_weights};
use bitnet::run::{Manifest, MetricsRow, Observer, Silent, StopReason, StopSignal, read_log};
use bitnet::storage::DISK;
use bitnet::train::{Ending, Launch};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use tiny::{Runs, checkpoints, experiment};

type Tensors = BTreeMap<String, Tensor>;
type Change<'a> = &'a dyn Fn(&mut Tensors, &mut Value);

const SUB_NORM: &str = "model.layers.1.self_attn.attn_sub_norm.weight";
const PROJECTION: &str = "model.layers.0.mlp.up_proj.weight";

fn tiny_model() -> ModelConfig {
    load(experiment(), &Overrides::default()).unwrap().model
}

/// A plain LLaMA of the tiny experiment's shape, without sub-norms and in full precision, as others publish it, with something changed.
fn llama(change: Change<'_>) -> TempDir {
    let mut model = tiny_model();
    model.sub_norms = false;
    model.initializer_range = 0.1;
    (model.bit_linear.weights, model.bit_linear.activations) = (WeightQuantizer::None, ActivationQuantizer::None);
    bitnet::libtorch::random::seed(21).unwrap();
    let store = VarStore::new(Device::Cpu);
    Decoder::new(&store.root(), &model, Precision::Float32);
    let mut tensors: Tensors = store.variables().into_iter().collect();
    tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), Tensor::ones([8], (Kind::Float, Device::Cpu)));
    let mut config = model.to_hugging_face(Default::default()).unwrap();
    config.as_object_mut().unwrap().remove("bitnet");
    config["model_type"] = json!("llama");
    change(&mut tensors, &mut config);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    TensorFile::new(tensors).unwrap().write_to(&mut fs::File::create(dir.path().join("model.safetensors")).unwrap()).unwrap();
    dir
}

fn unchanged(_: &mut Tensors, _: &mut Value) {}

fn refused(folder: &TempDir, model: &ModelConfig) -> String {
    let error = InitialWeights::load(folder.path(), model).map(|_| ()).unwrap_err();
    assert!(error.exit_status() == 2 && error.hint_text().is_some(), "{error}");
    error.to_string()
}

/// The parameters of `model` after starting from `folder`, and what was said.
fn started(folder: &TempDir, model: &ModelConfig) -> (Tensors, Vec<String>) {
    let store = VarStore::new(Device::Cpu);
    Decoder::new(&store.root(), model, Precision::Float32);
    let parameters: Tensors = store.variables().into_iter().collect();
    let weights = InitialWeights::load(folder.path(), model).unwrap();
    weights.copy_into(&parameters).unwrap();
    (parameters, weights.notes().to_vec())
}

#[test]
fn a_plain_llama_gives_every_weight_and_its_missing_sub_norms_begin_at_one() {
    let folder = llama(&unchanged);
    let theirs = load_tensors(&folder.path().join("model.safetensors")).unwrap();
    let (parameters, notes) = started(&folder, &tiny_model());
    assert_eq!(parameters.len(), theirs.len() - 1 + 4);
    for (name, parameter) in parameters {
        match theirs.get(&name) {
            Some(tensor) => assert!(parameter.equal(tensor), "{name}"),
            None => assert!(name.contains("_sub_norm.") && parameter.equal(&parameter.ones_like()), "{name}"),
        }
    }
    assert!(notes[1].ends_with("has no sub-norms: the 4 of this model begin at one"), "{notes:?}");
}

#[test]
fn bfloat16_weights_and_1bitllms_names_are_taken() {
    let folder = llama(&|tensors, config| {
        for layer in 0..2 {
            let ones = |size| Tensor::full([size], 1.5, (Kind::Float, Device::Cpu));
            tensors.insert(format!("model.layers.{layer}.self_attn.inner_attn_ln.weight"), ones(32));
            tensors.insert(format!("model.layers.{layer}.mlp.ffn_layernorm.weight"), ones(64));
        }
        tensors.values_mut().for_each(|tensor| *tensor = tensor.to_kind(Kind::BFloat16));
        (config["weight_bits"], config["input_bits"]) = (json!(1), json!(8));
    });
    let theirs = load_tensors(&folder.path().join("model.safetensors")).unwrap();
    let (parameters, notes) = started(&folder, &tiny_model());
    assert!(parameters[PROJECTION].equal(&theirs[PROJECTION].to_kind(Kind::Float)));
    assert_eq!(parameters[SUB_NORM].double_value(&[3]), 1.5);
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn a_model_of_another_shape_is_refused_by_the_key_that_differs() {
    let folder = llama(&unchanged);
    type Differing = (&'static str, fn(&mut ModelConfig));
    let cases: [Differing; 8] = [
        ("vocab_size", |model| model.vocab_size = 64),
        ("hidden_size", |model| model.hidden_size = 64),
        ("intermediate_size", |model| model.intermediate_size = 96),
        ("num_hidden_layers", |model| model.num_hidden_layers = 3),
        ("rope_theta", |model| model.rope_theta = 5e5),
        ("hidden_act", |model| model.hidden_act = Activation::Silu),
        ("tie_word_embeddings", |model| model.tie_word_embeddings = false),
        ("bit_linear.norm", |model| model.bit_linear.norm = NormPlacement::Inside),
    ];
    for (key, change) in cases {
        let mut model = tiny_model();
        change(&mut model);
        let message = refused(&folder, &model);
        assert!(message.contains(&format!("the experiment's model.{key} is ")) && message.contains("hint: --set 'model."), "{message}");
    }
    let mut model = tiny_model();
    model.max_position_embeddings = 99;
    (model.bit_linear.weights, model.initializer_range) = (WeightQuantizer::Sign, 0.5);
    assert!(InitialWeights::load(folder.path(), &model).is_ok(), "these may differ");
}

#[test]
fn sub_norms_that_the_folder_has_cannot_be_left_out_or_be_missing() {
    let with_norms = llama(&|_, config| (config["weight_bits"], config["input_bits"]) = (json!(1), json!(8)));
    let message = refused(&with_norms, &tiny_model());
    assert!(message.contains("attn_sub_norm.weight is missing"), "{message}");
    let mut model = tiny_model();
    model.sub_norms = false;
    assert!(refused(&with_norms, &model).contains("its model has sub_norms true"));
}

#[test]
fn a_missing_or_misshapen_tensor_is_named() {
    for (change, part) in [
        (&(|tensors: &mut Tensors, _: &mut Value| drop(tensors.remove(PROJECTION))) as Change<'_>, "is missing"),
        (&|tensors, _| drop(tensors.insert(PROJECTION.into(), Tensor::zeros([32, 64], (Kind::Float, Device::Cpu)))), "[32, 64]"),
        (&|tensors, _| drop(tensors.insert(PROJECTION.into(), Tensor::zeros([64, 32], (Kind::Int8, Device::Cpu)))), "Int8"),
    ] {
        let message = refused(&llama(change), &tiny_model());
        assert!(message.contains("model.safetensors") && message.contains(PROJECTION) && message.contains(part), "{message}");
    }
}

#[test]
fn weights_that_are_not_finite_are_refused_by_tensor_and_index() {
    for (value, shown) in [(f64::NAN, "NaN"), (f64::NEG_INFINITY, "-inf")] {
        let folder = llama(&|tensors, _| {
            let _ = tch::no_grad(|| tensors[PROJECTION].get(3).narrow(0, 5, 1).fill_(value));
        });
        let message = refused(&folder, &tiny_model());
        assert!(message.contains(&format!("tensor {PROJECTION} is {shown} at [3, 5]")), "{message}");
    }
}

#[test]
fn weights_that_are_quantized_already_are_refused_unless_nothing_quantizes_them_again() {
    let ternary: Change<'_> = &|tensors, _| {
        let quantized = quantize_weights(&tensors[PROJECTION], WeightQuantizer::TernaryAbsmean).detach();
        tensors.insert(PROJECTION.into(), quantized.to_kind(Kind::BFloat16));
    };
    let folder = llama(ternary);
    let message = refused(&folder, &tiny_model());
    assert!(message.contains(PROJECTION) && message.contains("at most three distinct values"), "{message}");
    let mut twin = tiny_model();
    twin.bit_linear.weights = WeightQuantizer::None;
    assert!(InitialWeights::load(folder.path(), &twin).is_ok());
    let packed = llama(&|_, config| config["quantization_config"] = json!({"quant_method": "bitnet", "quantization_mode": "offline"}));
    assert!(refused(&packed, &tiny_model()).contains("packed weights cannot be used here"));
}

/// Asks for a stop after a step.
struct StopAfter(StopSignal, u64);

impl Observer for StopAfter {
    fn stepped(&mut self, row: &MetricsRow, _loss_average: f64) {
        if row.step == self.1 {
            self.0.request(StopReason::Interrupt);
        }
    }
}

fn overrides(folder: &Path) -> Overrides {
    let set = ["train.schedule.quantization_blend_steps=6", "train.num_steps=12", "checkpoints.keep_last=9"].map(String::from).to_vec();
    Overrides { init_from: Some(folder.display().to_string()), set, ..Overrides::default() }
}

fn create(runs: &Runs, id: &str, overrides: &Overrides) -> Result<Launch<'static>> {
    Launch::create(&DISK, runs.path(), Some(id), &experiment(), overrides)
}

#[test]
fn a_run_starts_from_the_folder_once_and_says_so_in_its_manifest_and_log() {
    let (runs, folder) = (Runs::new(), llama(&unchanged));
    let train = |id: &str, stop_after| {
        let stop = StopSignal::default();
        create(&runs, id, &overrides(folder.path())).unwrap().run(stop.clone(), &mut StopAfter(stop, stop_after)).unwrap()
    };
    assert_eq!(train("whole", 99), Ending::Finished);
    assert_eq!(train("stopped", 8), Ending::Stopped(StopReason::Interrupt));
    let hash = InitialWeights::load(folder.path(), &tiny_model()).unwrap().hash().to_string();
    let expected = overrides(folder.path()).init_from;
    fs::remove_dir_all(folder.path()).unwrap(); // a resume needs it no more
    let resumed = Launch::resume(&DISK, runs.path(), "stopped", None, &Overrides::default()).unwrap();
    assert_eq!(resumed.run(StopSignal::default(), &mut Silent).unwrap(), Ending::Finished);
    let weights = |id: &str| fs::read(checkpoints(&runs.run(id)).pop().unwrap().join("model.safetensors")).unwrap();
    assert!(weights("whole") == weights("stopped"));

    let manifest = Manifest::read(&DISK, &runs.run("stopped")).unwrap();
    let first = manifest.launches[0].init_from.clone().unwrap();
    assert_eq!((Some(first.folder), first.hash), (expected, hash));
    assert_eq!(manifest.launches[1].init_from, None);
    let log = fs::read_to_string(runs.run("whole").train_log_path()).unwrap();
    for part in ["weights from ", "begin at one", "from full precision to quantized in 6 steps", "quantized from step 7 on"] {
        assert_eq!(log.matches(part).count(), 1, "{part}: {log}");
    }
}

#[test]
fn the_first_step_of_a_blend_is_that_of_the_full_precision_twin() {
    let (runs, folder) = (Runs::new(), llama(&unchanged));
    let mut twin = overrides(folder.path());
    twin.set.extend(["model.bit_linear.weights=none".into(), "model.bit_linear.activations=none".into()]);
    let losses = ["blended", "twin"].map(|id| {
        let overrides = if id == "twin" { twin.clone() } else { overrides(folder.path()) };
        create(&runs, id, &overrides).unwrap().run(StopSignal::default(), &mut Silent).unwrap();
        let rows = read_log::<MetricsRow>(&DISK, &runs.run(id).metrics_path()).unwrap().rows;
        rows.iter().map(|row| row.loss).collect::<Vec<_>>()
    });
    assert_eq!(losses[0][0], losses[1][0]);
    assert_ne!(losses[0][6], losses[1][6]);
}

#[test]
fn a_folder_that_does_not_fit_takes_no_run_id() {
    let (runs, folder) = (Runs::new(), llama(&|_, config| config["hidden_act"] = json!("silu")));
    let error = create(&runs, "mine", &overrides(folder.path())).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("hidden_act"), "{error}");
    assert!(!runs.path().join("mine").exists());
    let error = create(&runs, "mine", &overrides(&runs.path().join("nowhere"))).map(|_| ()).unwrap_err();
    assert!(error.exit_status() == 2 && error.to_string().contains("nowhere/config.json"), "{error}");
}

#[test]
fn a_resumed_run_cannot_start_from_elsewhere() {
    let (runs, folder) = (Runs::new(), llama(&unchanged));
    drop(create(&runs, "mine", &overrides(folder.path())).unwrap());
    let elsewhere = Overrides { set: vec!["init_from=null".into()], ..Overrides::default() };
    let error = Launch::resume(&DISK, runs.path(), "mine", None, &elsewhere).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("`init_from` cannot change"), "{error}");
    let saved: Experiment = runs.run("mine").read_config().unwrap();
    assert_eq!(saved.init_from, Some(folder.path().display().to_string()));
}
