//! The decoder's config as the `config.json` of a Hugging Face model folder, both ways. Written: what transformers' `bitnet` loads or,
//! without sub-norms, which that always has, `llama`; with what it has no key for under `bitnet`. Read: that, and the public layouts. Weights and their names belong to `model`.
//!
//! Nobody else combines ternary weights with latent attention, so such a folder says `model_type: bitnet_latent`, with DeepSeek's keys for
//! its sizes: transformers then refuses it, where `bitnet` or `deepseek_v3` would load it and compute something else.

use super::{Activation, ActivationQuantizer, Attention, BitLinearConfig, LatentAttention, ModelConfig, NormPlacement, WeightQuantizer};
use crate::error::shortened;
use crate::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// No config.json is near this size, in bytes.
pub const LARGEST_CONFIG_JSON: usize = 256 * 1024;
/// Initial weights have no bearing on a trained model, so old files without the key get the usual value.
const USUAL_INITIALIZER_RANGE: f64 = 0.02;

/// The quantization method of folders whose codes are in blocks. transformers knows none of that name; it says so, and that shapes do not
/// fit.
pub const BLOCKS_METHOD: &str = "bitnet-blocks";

/// Ids of the tokens that begin and end a text; none where the tokenizer has no such token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenIds {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
}

/// How packed codes lie, and how `weight_scale` applies to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackedForm {
    /// Four rows in a byte; value = code times scale (`linear_class: autobitlinear`).
    Multiply,
    /// Four rows in a byte; value = code divided by scale (`linear_class: bitlinear`, or none).
    Divide,
    /// As our kernels read them, so that a file can be mapped; value = code times scale.
    Blocks,
}

/// What a config.json says.
#[derive(Debug, Clone, PartialEq)]
pub struct HuggingFaceConfig {
    /// The decoder, validated.
    pub model: ModelConfig,
    /// Where text begins and ends; the first id where a file lists several.
    pub tokens: TokenIds,
    /// How to read the projections if they are packed codes; none for latent weights.
    pub packed: Option<PackedForm>,
}

/// Our keys under `bitnet`: what transformers has no name for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnKeys {
    attention: AttentionKind,
    sub_norms: bool,
    bit_linear: BitLinearConfig,
}

/// The kind of attention; the sizes of the latent one are keys of the top level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AttentionKind {
    GroupedQuery,
    Latent,
}

/// `model_type` where attention is latent.
const LATENT_TYPE: &str = "bitnet_latent";

impl ModelConfig {
    /// The config.json of a folder with latent float32 weights, quantized as they are used.
    ///
    /// # Errors
    /// Ours, if the serializer fails.
    pub fn to_hugging_face(&self, tokens: TokenIds) -> Result<Value> {
        let is_llama = !self.sub_norms && !self.bit_linear.norm.is_inside();
        let (class, model_type) = if is_llama { ("LlamaForCausalLM", "llama") } else { ("BitNetForCausalLM", "bitnet") };
        let mut config = json!({
            "architectures": [class],
            "model_type": model_type,
            "torch_dtype": "float32",
            "attention_bias": false,
            "attention_dropout": 0.0,
            "use_cache": true,
            "bos_token_id": tokens.bos,
            "eos_token_id": tokens.eos,
            "pad_token_id": null,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "max_position_embeddings": self.max_position_embeddings,
            "rope_theta": self.rope_theta,
            "rms_norm_eps": self.rms_norm_eps,
            "hidden_act": self.hidden_act,
            "tie_word_embeddings": self.tie_word_embeddings,
            "initializer_range": self.initializer_range,
        });
        let attention = match self.attention {
            Attention::GroupedQuery => AttentionKind::GroupedQuery,
            Attention::Latent(latent) => {
                config["architectures"] = json!(["BitNetLatentForCausalLM"]);
                config["model_type"] = json!(LATENT_TYPE);
                let sizes = serde_json::to_value(latent).context(|| "writing config.json")?;
                config.as_object_mut().into_iter().for_each(|entries| entries.extend(sizes.as_object().cloned().unwrap_or_default()));
                AttentionKind::Latent
            }
        };
        let own = OwnKeys { attention, sub_norms: self.sub_norms, bit_linear: self.bit_linear };
        config["bitnet"] = serde_json::to_value(own).context(|| "writing config.json")?;
        match self.bit_linear.weights {
            WeightQuantizer::TernaryAbsmean => {
                config["quantization_config"] =
                    json!({"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"});
            }
            WeightQuantizer::Sign | WeightQuantizer::None => {} // nobody else has a name for these
        }
        Ok(config)
    }

    /// Reads a config.json: one of ours, `bitnet` as microsoft publishes it, or `llama` with `weight_bits`, with a bitnet
    /// `quantization_config`, or plain. `name` stands for the file in messages.
    ///
    /// # Errors
    /// The user's: no JSON, a key missing or of the wrong type, or an architecture that the decoder does not have.
    pub fn from_hugging_face(text: &str, name: &str) -> Result<HuggingFaceConfig> {
        read(text).map_err(|error| error.context(name).blame_input())
    }
}

fn read(text: &str) -> Result<HuggingFaceConfig> {
    if text.len() > LARGEST_CONFIG_JSON {
        return Err(Error::input(format!("larger than {LARGEST_CONFIG_JSON} bytes, which no config.json is")));
    }
    let file = File { entries: serde_json::from_str(text).context(|| "this is not a JSON object")? };
    file.refuse_foreign()?;
    let model = file.model()?;
    model.validate()?;
    Ok(HuggingFaceConfig { model, tokens: file.tokens()?, packed: file.packed()? })
}

/// The top level of a config.json.
struct File {
    entries: Map<String, Value>,
}

impl File {
    /// The value of a key; none where the key is absent or null.
    fn optional<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        match self.entries.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let typed = serde_json::from_value(value.clone());
                typed.map(Some).map_err(|error| Error::input(format!("`{key}` is {}: {error}", shown(value))))
            }
        }
    }

    fn required<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        let hint = "class defaults differ between versions, so every key has to be in the file";
        self.optional(key)?.ok_or_else(|| Error::input(format!("the key `{key}` is missing")).hint(hint))
    }

    /// A text below a nested object.
    fn nested(&self, section: &str, key: &str) -> Option<&str> {
        self.entries.get(section)?.get(key)?.as_str()
    }

    fn model(&self) -> Result<ModelConfig> {
        let num_attention_heads = self.required("num_attention_heads")?;
        let own = self.own_keys()?;
        Ok(ModelConfig {
            vocab_size: self.required("vocab_size")?,
            hidden_size: self.required("hidden_size")?,
            intermediate_size: self.required("intermediate_size")?,
            num_hidden_layers: self.required("num_hidden_layers")?,
            num_attention_heads,
            num_key_value_heads: self.optional("num_key_value_heads")?.unwrap_or(num_attention_heads),
            max_position_embeddings: self.required("max_position_embeddings")?,
            rope_theta: self.rope_theta()?,
            rms_norm_eps: self.required("rms_norm_eps")?,
            hidden_act: self.required::<Activation>("hidden_act")?,
            tie_word_embeddings: self.required("tie_word_embeddings")?,
            initializer_range: self.optional("initializer_range")?.unwrap_or(USUAL_INITIALIZER_RANGE),
            attention: self.attention(own.attention)?,
            sub_norms: own.sub_norms,
            bit_linear: own.bit_linear,
        })
    }

    fn attention(&self, kind: AttentionKind) -> Result<Attention> {
        let is_latent = self.required::<String>("model_type")? == LATENT_TYPE;
        if is_latent != (kind == AttentionKind::Latent) {
            return Err(Error::input(format!("`bitnet.attention` is {kind:?}, which `model_type` contradicts")));
        }
        match kind {
            AttentionKind::GroupedQuery => Ok(Attention::GroupedQuery),
            AttentionKind::Latent => Ok(Attention::Latent(LatentAttention {
                q_lora_rank: self.optional("q_lora_rank")?,
                kv_lora_rank: self.required("kv_lora_rank")?,
                qk_nope_head_dim: self.required("qk_nope_head_dim")?,
                qk_rope_head_dim: self.required("qk_rope_head_dim")?,
                v_head_dim: self.required("v_head_dim")?,
            })),
        }
    }

    /// Ours where they are written, else what the public layouts imply.
    fn own_keys(&self) -> Result<OwnKeys> {
        if let Some(own) = self.optional("bitnet")? {
            return Ok(own);
        }
        let model_type: String = self.required("model_type")?;
        let is_bitnet = ["bitnet", LATENT_TYPE].contains(&model_type.as_str());
        let attention = if model_type == LATENT_TYPE { AttentionKind::Latent } else { AttentionKind::GroupedQuery };
        let has_bits = self.has_weight_bits()?;
        let is_quantized = is_bitnet || has_bits || self.nested("quantization_config", "quant_method") == Some("bitnet");
        let (weights, activations) = match is_quantized {
            true => (WeightQuantizer::TernaryAbsmean, ActivationQuantizer::Int8Absmax),
            false => (WeightQuantizer::None, ActivationQuantizer::None),
        };
        let bit_linear = BitLinearConfig { weights, activations, norm: NormPlacement::Outside };
        Ok(OwnKeys { attention, sub_norms: is_bitnet || has_bits, bit_linear })
    }

    /// 1bitLLM's mark: `weight_bits: 1` (which means ternary there) with `input_bits: 8`.
    fn has_weight_bits(&self) -> Result<bool> {
        match (self.optional::<u32>("weight_bits")?, self.optional::<u32>("input_bits")?) {
            (None, None) => Ok(false),
            (Some(1), Some(8)) => Ok(true),
            (weight_bits, input_bits) => {
                Err(Error::input(format!("`weight_bits` {weight_bits:?} with `input_bits` {input_bits:?}: only 1 with 8 is known")))
            }
        }
    }

    /// At the top level, or under `rope_parameters` where newer versions of transformers put it.
    fn rope_theta(&self) -> Result<f64> {
        let nested = self.entries.get("rope_parameters").and_then(|rope| rope.get("rope_theta")).and_then(Value::as_f64);
        nested.map_or_else(|| self.required("rope_theta"), Ok)
    }

    fn tokens(&self) -> Result<TokenIds> {
        let first = |key| -> Result<Option<u32>> {
            match self.entries.get(key).and_then(Value::as_array) {
                Some(ids) => Ok(ids.first().and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok())),
                None => self.optional(key),
            }
        };
        Ok(TokenIds { bos: first("bos_token_id")?, eos: first("eos_token_id")? })
    }

    /// `offline` means packed codes, and so does our own method. A bitnet quantization without a mode is as old as the mode, and packed.
    fn packed(&self) -> Result<Option<PackedForm>> {
        match self.nested("quantization_config", "quant_method") {
            Some("bitnet") => {}
            Some(BLOCKS_METHOD) => return Ok(Some(PackedForm::Blocks)),
            _ => return Ok(None),
        }
        match self.nested("quantization_config", "quantization_mode") {
            Some("online") => return Ok(None),
            Some("offline") | None => {}
            Some(other) => {
                return Err(Error::input(format!("`quantization_config.quantization_mode` is {other:?}: expected online or offline")));
            }
        }
        match self.nested("quantization_config", "linear_class") {
            Some("autobitlinear") => Ok(Some(PackedForm::Multiply)),
            Some("bitlinear") | None => Ok(Some(PackedForm::Divide)),
            Some(other) => {
                Err(Error::input(format!("`quantization_config.linear_class` is {other:?}: expected autobitlinear or bitlinear")))
            }
        }
    }

    /// What would load and then compute something else.
    fn refuse_foreign(&self) -> Result<()> {
        let model_type: String = self.required("model_type")?;
        if !["bitnet", LATENT_TYPE, "llama"].contains(&model_type.as_str()) {
            return Err(Error::input(format!("`model_type` is {model_type:?}: expected bitnet, {LATENT_TYPE} or llama")));
        }
        self.refuse_if("attention_bias", |value| *value != Value::Bool(false), "projections have no biases here")?;
        self.refuse_if("mlp_bias", |value| *value != Value::Bool(false), "projections have no biases here")?;
        self.refuse_if("rope_scaling", |_| true, "stretched rotary positions are not supported")?;
        let is_stretched = |rope: &Value| rope.get("rope_type").is_some_and(|kind| kind != "default");
        self.refuse_if("rope_parameters", is_stretched, "stretched rotary positions are not supported")?;
        let other_quantizer =
            |quantization: &Value| quantization.get("quant_method").is_none_or(|method| method != "bitnet" && method != BLOCKS_METHOD);
        self.refuse_if("quantization_config", other_quantizer, "only the bitnet quantization is supported")?;
        if model_type == LATENT_TYPE {
            return Ok(()); // its heads have sizes of their own
        }
        let (hidden, heads): (u64, u64) = (self.required("hidden_size")?, self.required("num_attention_heads")?);
        let is_other_size = |size: &Value| size.as_u64().and_then(|size| size.checked_mul(heads)) != Some(hidden);
        self.refuse_if("head_dim", is_other_size, "heads have to be hidden_size / num_attention_heads wide")
    }

    fn refuse_if(&self, key: &str, is_foreign: impl Fn(&Value) -> bool, reason: &str) -> Result<()> {
        match self.entries.get(key) {
            Some(value) if !value.is_null() && is_foreign(value) => Err(Error::input(format!("`{key}` is {}: {reason}", shown(value)))),
            _ => Ok(()),
        }
    }
}

/// A value as JSON, cut when long.
fn shown(value: &Value) -> String {
    shortened(&value.to_string())
}

#[cfg(test)]
#[path = "hugging_face_tests.rs"]
mod tests;
