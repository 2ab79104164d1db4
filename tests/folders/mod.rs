//! Model folders for whole-program tests: small random models in any layout as files, and what the engine computes from a folder.
#![allow(dead_code)] // each test program uses a part

use assert_cmd::Command;
use bitnet::config::{Activation, ActivationQuantizer, Attention, BitLinearConfig, ModelConfig, NormPlacement, TokenIds, WeightQuantizer};
use bitnet::inference::{Chunk, LoadOptions, Model, Wanted};
use bitnet::random::Random;
use bitnet::ternary::packing::{num_packed_rows, pack};
use bitnet::ternary::weights::ternary_absmean;
use bitnet::tokenizer::Tokenizer;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// Tokens that logits are compared on.
pub const TOKENS: [u32; 8] = [4, 9, 5, 31, 17, 6, 22, 8];
pub const Q_PROJ: &str = "model.layers.1.self_attn.q_proj.weight";
const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz .!?";
const VOCAB_SIZE: usize = 36;

/// A shape and its numbers.
pub type Tensor = (Vec<usize>, Vec<f32>);
/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;
/// What goes into one tensor of a file.
pub type Stored = (Dtype, Vec<usize>, Vec<u8>);

/// Two layers of heads that share keys, in the shape that microsoft publishes.
pub fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: VOCAB_SIZE,
        hidden_size: 48,
        intermediate_size: 72,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 64,
        rope_theta: 10000.0,
        rms_norm_eps: 1e-5,
        hidden_act: Activation::Relu2,
        tie_word_embeddings: true,
        initializer_range: 0.4,
        attention: Attention::GroupedQuery,
        sub_norms: true,
        bit_linear: BitLinearConfig {
            weights: WeightQuantizer::TernaryAbsmean,
            activations: ActivationQuantizer::Int8Absmax,
            norm: NormPlacement::Outside,
        },
    }
}

/// Without sub-norms, silu, not tied: what LLaMA is.
pub fn bare() -> ModelConfig {
    ModelConfig { sub_norms: false, hidden_act: Activation::Silu, tie_word_embeddings: false, ..config() }
}

/// Random weights: matrices of the model's spread, norms around one.
pub fn tensors(model: &ModelConfig, seed: u64) -> Tensors {
    let mut random = Random::derive(seed, "test weights", 0);
    let mut tensor = |shape: Vec<usize>| {
        let (center, spread) = if shape.len() == 1 { (1.0, 0.5) } else { (0.0, model.initializer_range) };
        let numbers = (0..shape.iter().product()).map(|_| (center + spread * (2.0 * random.unit() - 1.0)) as f32).collect();
        (shape, numbers)
    };
    model.parameter_shapes().into_iter().map(|(name, shape)| (name, tensor(shape))).collect()
}

/// In float32.
pub fn stored(tensors: &Tensors) -> BTreeMap<String, Stored> {
    tensors.iter().map(|(name, tensor)| (name.clone(), as_f32(tensor))).collect()
}

pub fn as_f32((shape, numbers): &Tensor) -> Stored {
    (Dtype::F32, shape.clone(), numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
}

/// The tensors with projections as packed codes, and what `scale` makes of each scale.
pub fn packed(tensors: &Tensors, scale: impl Fn(f32) -> f32) -> BTreeMap<String, Stored> {
    let mut packed = stored(tensors);
    for (name, (shape, numbers)) in tensors.iter().filter(|(name, (shape, _))| name.contains(".layers.") && shape.len() == 2) {
        let matrix = ternary_absmean(numbers).unwrap();
        let bytes = pack(&matrix.codes, shape[0], shape[1]).unwrap();
        packed.insert(name.clone(), (Dtype::U8, vec![num_packed_rows(shape[0]), shape[1]], bytes));
        packed.insert(format!("{name}_scale"), as_f32(&(vec![1], vec![scale(matrix.scale)])));
    }
    packed
}

/// The config.json that this program writes.
pub fn own_config(model: &ModelConfig) -> Value {
    model.to_hugging_face(TokenIds { bos: Some(1), eos: Some(2) }).unwrap()
}

/// The config.json as others publish it: without the keys that only we write.
pub fn foreign_config(model: &ModelConfig, model_type: &str, extra: Value) -> Value {
    let mut config = own_config(model);
    let entries = config.as_object_mut().unwrap();
    entries.remove("bitnet");
    entries.remove("quantization_config");
    entries.insert("model_type".into(), json!(model_type));
    entries.extend(extra.as_object().unwrap().clone());
    config
}

/// `quantization_config` of packed codes.
pub fn offline(linear_class: Option<&str>) -> Value {
    json!({"quantization_config": {"quant_method": "bitnet", "linear_class": linear_class, "quantization_mode": "offline"}})
}

/// Writes a folder with a tokenizer of characters.
pub fn write_folder(dir: &Path, config: &Value, tensors: &BTreeMap<String, Stored>) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    fs::write(dir.join("tokenizer.json"), Tokenizer::characters(ALPHABET, VOCAB_SIZE).unwrap().to_json().unwrap()).unwrap();
    write_tensors(&dir.join("model.safetensors"), tensors);
    dir.to_owned()
}

/// A folder of ours with latent float32 weights.
pub fn write_own(dir: &Path, model: &ModelConfig) -> PathBuf {
    write_folder(dir, &own_config(model), &stored(&tensors(model, 1)))
}

pub fn write_tensors(path: &Path, tensors: &BTreeMap<String, Stored>) {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    fs::write(path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
}

/// Every tensor of a folder as it lies in the file.
pub fn read_tensors(dir: &Path) -> BTreeMap<String, Stored> {
    let bytes = fs::read(dir.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(name, view)| (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))).collect()
}

pub fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Logits of [`TOKENS`] at every position.
pub fn logits(dir: &Path) -> Vec<f32> {
    logits_with(dir, &LoadOptions { num_threads: 1, ..LoadOptions::default() })
}

pub fn logits_with(dir: &Path, options: &LoadOptions) -> Vec<f32> {
    let model = Model::load(dir, options).unwrap();
    let (mut cache, mut workspace) = (model.new_cache(TOKENS.len()).unwrap(), model.new_workspace(TOKENS.len()));
    let chunk = Chunk { cache: &mut cache, tokens: &TOKENS, logits: Wanted::All };
    model.forward(&mut [chunk], &mut workspace).unwrap().to_vec()
}

/// One of this crate's programs, with no colour and no runs but those below `runs_dir`.
pub fn program(name: &str, runs_dir: &Path) -> Command {
    let path = match name {
        "export" => env!("CARGO_BIN_EXE_export"),
        "import" => env!("CARGO_BIN_EXE_import"),
        "inspect" => env!("CARGO_BIN_EXE_inspect"),
        _ => env!("CARGO_BIN_EXE_generate"),
    };
    let mut command = Command::new(path);
    command.current_dir(runs_dir).arg("--runs-dir").arg(runs_dir).env("NO_COLOR", "1").env("COLUMNS", "100");
    command
}

/// Runs `name` to success: what it wrote on stdout and on stderr.
#[track_caller]
pub fn succeeds(name: &str, root: &Path, arguments: &[&str]) -> (String, String) {
    let output = program(name, root).args(arguments).assert().success().get_output().clone();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// The one error of `name`, which is the user's.
#[track_caller]
pub fn refusal(name: &str, root: &Path, arguments: &[&str]) -> String {
    let output = program(name, root).args(arguments).assert().code(2).stdout("").get_output().stderr.clone();
    let text = String::from_utf8(output).unwrap();
    assert!(text.starts_with("error: ") && text.matches("error: ").count() == 1, "{text}");
    text
}

/// A path as an argument.
pub fn argument(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An empty folder in which programs run.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn model(&self, name: &str, model: &ModelConfig) -> PathBuf {
        write_own(&self.path().join(name), model)
    }

    /// `export NAME --to form -o OUTPUT`: the output's path, and what was said on stderr.
    #[track_caller]
    pub fn export(&self, name: &str, form: &str, output: &str, more: &[&str]) -> (PathBuf, String) {
        let arguments = [&[name, "--to", form, "-o", output], more].concat();
        let (stdout, stderr) = succeeds("export", self.path(), &arguments);
        assert_eq!(stdout, format!("{output}\n"));
        (self.path().join(output), stderr)
    }
}
