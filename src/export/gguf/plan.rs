//! What a model becomes: the architecture whose computation it is, the types of its tensors, and the metadata that say so.

use super::options::GgufOptions;
use crate::config::{Activation, ActivationQuantizer, Attention, ModelConfig, WeightQuantizer};
use crate::gguf::{Layout, Scaling, TensorType, tensor_name};
use crate::inference::StoredParameter;
use crate::{Error, Result};
use std::path::Path;

/// llama.cpp's numbers for files by the type of most tensors.
const FILE_TYPES: [(TensorType, u32); 4] = [(TensorType::F16, 1), (TensorType::Tq1_0, 36), (TensorType::Tq2_0, 37), (TensorType::I2S, 40)];
/// The version of the layout of blocks.
const QUANTIZATION_VERSION: u32 = 2;

/// What a model becomes.
pub(super) struct Plan {
    pub architecture: &'static str,
    /// The type of the projections.
    pub projections: TensorType,
    embedding: TensorType,
    scaling: Scaling,
    pub warnings: Vec<String>,
    model: ModelConfig,
}

impl Plan {
    /// The plan for `model`.
    ///
    /// # Errors
    /// The user's: no architecture computes what the model does.
    pub fn of(model: &ModelConfig, options: &GgufOptions) -> Result<Self> {
        let architecture = architecture(model)?;
        let projections = match (model.bit_linear.weights, options.projections) {
            (WeightQuantizer::None, None) => TensorType::F16,
            (WeightQuantizer::None, Some(_)) => {
                return Err(Error::input("its weights are not quantized, so there are no ternary codes").hint("leave the type out"));
            }
            (WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign, Some(chosen)) => chosen.into(),
            (WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign, None) => {
                let is_for_bitnet_cpp = architecture == "bitnet-b1.58" || !has_blocks_of(model, TensorType::Tq2_0);
                if is_for_bitnet_cpp { TensorType::I2S } else { TensorType::Tq2_0 }
            }
        };
        let usual = if architecture == "bitnet" { Scaling::Beside } else { Scaling::InBlocks };
        let scaling = options.scaling.unwrap_or(usual);
        let warnings = warnings(model, architecture, projections);
        Ok(Self { architecture, projections, embedding: options.embedding.into(), scaling, warnings, model: model.clone() })
    }

    /// The type of a parameter.
    pub fn kind_of(&self, parameter: &StoredParameter) -> TensorType {
        match parameter.shape.len() {
            1 => TensorType::F32,
            _ if parameter.is_projection => self.projections,
            _ => self.embedding,
        }
    }

    /// Whether each matrix has a tensor with its scale beside it.
    pub fn has_scales_beside(&self) -> bool {
        match self.scaling {
            Scaling::Beside => self.projections.has_block_scales(),
            Scaling::InBlocks => false,
        }
    }

    /// The width of the heads whose rows the architecture wants by turns.
    pub fn interleaved_head(&self, parameter: &StoredParameter) -> Option<usize> {
        let is_turned = parameter.name.ends_with(".q_proj.weight") || parameter.name.ends_with(".k_proj.weight");
        (is_turned && self.architecture == "llama").then(|| self.model.head_dim())
    }

    /// A parameter, and its scale where that has a tensor of its own.
    pub fn add_tensor(&self, layout: &mut Layout, parameter: &StoredParameter) -> Result<()> {
        let (name, kind) = (file_name(parameter)?, self.kind_of(parameter));
        let dimensions: Vec<u64> = parameter.shape.iter().rev().map(|axis| *axis as u64).collect();
        if let Some(width) = dimensions.first().filter(|width| !width.is_multiple_of(kind.block_length())) {
            let (block, kind) = (kind.block_length(), kind.name());
            let message = format!("{} has rows of {width} numbers, which are no multiple of the {block} of {kind}", parameter.name);
            return Err(Error::input(message).hint(self.cure(parameter)));
        }
        layout.tensor(&name, kind, &dimensions)?;
        match kind.is_ternary() && self.has_scales_beside() {
            true => layout.tensor(&scale_name(&name), TensorType::F32, &[1]),
            false => Ok(()),
        }
    }

    /// The hint where rows are no whole blocks.
    fn cure(&self, parameter: &StoredParameter) -> &'static str {
        if !parameter.is_projection {
            return "take another type for the embedding";
        }
        match self.projections {
            TensorType::I2S => {
                "GGUF has no ternary type for this width: take --to packed, or train with sizes that are multiples of 256, which stock \
                 llama.cpp reads, or of 128, for bitnet.cpp"
            }
            TensorType::F32
            | TensorType::F16
            | TensorType::Bf16
            | TensorType::Q4_0
            | TensorType::Q8_0
            | TensorType::Q6K
            | TensorType::Tq1_0
            | TensorType::Tq2_0
            | TensorType::Other(_) => {
                "leave --type out, or take i2_s, for bitnet.cpp, which takes multiples of 128; else take --to packed, or train with sizes \
                 that are multiples of 256, which stock llama.cpp reads"
            }
        }
    }

    /// What llama.cpp has to know of the decoder.
    pub fn add_metadata(&self, layout: &mut Layout, output: &Path) -> Result<()> {
        let model = &self.model;
        layout.text("general.architecture", self.architecture)?;
        layout.text("general.type", "model")?;
        layout.text("general.name", &output.file_stem().unwrap_or_default().to_string_lossy())?;
        layout.unsigned("general.quantization_version", QUANTIZATION_VERSION)?;
        let file_type = FILE_TYPES.iter().find(|(kind, _)| *kind == self.projections);
        layout.unsigned("general.file_type", file_type.map_or(0, |(_, number)| *number))?;
        let head_dim = model.head_dim();
        for (name, number) in [
            ("vocab_size", model.vocab_size),
            ("context_length", model.max_position_embeddings),
            ("embedding_length", model.hidden_size),
            ("block_count", model.num_hidden_layers),
            ("feed_forward_length", model.intermediate_size),
            ("attention.head_count", model.num_attention_heads),
            ("attention.head_count_kv", model.num_key_value_heads),
            ("rope.dimension_count", head_dim),
        ] {
            let number = u32::try_from(number).map_err(|_| Error::input(format!("`{name}` is {number}, more than GGUF files can say")))?;
            layout.unsigned(&self.key(name), number)?;
        }
        layout.float(&self.key("rope.freq_base"), model.rope_theta as f32)?;
        layout.float(&self.key("attention.layer_norm_rms_epsilon"), model.rms_norm_eps as f32)?;
        layout.text(crate::gguf::ACTIVATIONS_KEY, model.bit_linear.activations.name())
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }
}

/// What the file calls a parameter.
pub(super) fn file_name(parameter: &StoredParameter) -> Result<String> {
    tensor_name(&parameter.name).ok_or_else(|| Error::ours(format!("{} has no name in GGUF files", parameter.name)))
}

/// The scale beside the matrix `name`.
pub(super) fn scale_name(name: &str) -> String {
    format!("{}.scale", name.trim_end_matches(".weight"))
}

/// Whether the rows of all projections are whole blocks of `kind`.
fn has_blocks_of(model: &ModelConfig, kind: TensorType) -> bool {
    let widths = [model.hidden_size, model.num_attention_heads * model.head_dim(), model.intermediate_size];
    widths.iter().all(|width| (*width as u64).is_multiple_of(kind.block_length()))
}

/// The architecture that computes what `model` does.
fn architecture(model: &ModelConfig) -> Result<&'static str> {
    let refused = |what: &str| Err(Error::input(format!("no architecture of GGUF files {what}")).hint("--to packed writes any model"));
    match model.attention {
        Attention::GroupedQuery => {}
        Attention::Latent(_) => return refused("has ternary weights with latent attention"),
    }
    if model.bit_linear.norm.is_inside() {
        return refused("has a norm in every projection");
    }
    match (model.hidden_act, model.sub_norms) {
        (Activation::Silu, true) if !model.tie_word_embeddings => refused("has sub-norms and silu, but a head beside the embedding"),
        (Activation::Silu | Activation::Relu2, true) if !model.bit_linear.weights.has_codes() => {
            refused("has sub-norms and full-precision weights")
        }
        (Activation::Silu, true) => Ok("bitnet"),
        (Activation::Relu2, true) => Ok("bitnet-b1.58"),
        (Activation::Silu, false) => Ok("llama"),
        (Activation::Relu2, false) => refused("has relu2 without sub-norms"),
    }
}

fn warnings(model: &ModelConfig, architecture: &str, projections: TensorType) -> Vec<String> {
    let mut warnings = Vec::new();
    if architecture == "bitnet-b1.58" {
        warnings.push("stock llama.cpp does not run models with relu2; bitnet.cpp does".to_owned());
    }
    if projections.has_tail() {
        warnings.push(match (architecture, has_blocks_of(model, TensorType::Tq2_0)) {
            ("bitnet-b1.58", true) => {
                "tools that know ggml's types alone, such as the package gguf, read --type tq2_0, not I2_S".to_owned()
            }
            (_, true) => "stock llama.cpp does not read I2_S, but --type tq2_0; bitnet.cpp on x86 reads it".to_owned(),
            (_, false) => "stock llama.cpp and the package gguf do not read I2_S, which bitnet.cpp on x86 does; what they read, TQ1_0 and \
                           TQ2_0, takes sizes that are multiples of 256"
                .to_owned(),
        });
    }
    let is_quantized_otherwise = match model.bit_linear.activations {
        ActivationQuantizer::Int8Absmax => false,
        ActivationQuantizer::Int4Absmean | ActivationQuantizer::None => model.bit_linear.weights.has_codes(),
    };
    if is_quantized_otherwise {
        let name = model.bit_linear.activations.name();
        warnings.push(format!("the model's activations are {name}; llama.cpp and bitnet.cpp quantize them to 8 bits nonetheless"));
    }
    warnings
}
