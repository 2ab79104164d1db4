//! The model that a GGUF file's metadata describe, of the architectures that ternary models come in.

use crate::Result;
use crate::config::{
    Activation, ActivationQuantizer, Attention, BitLinearConfig, HuggingFaceConfig, ModelConfig, NormPlacement, TokenIds, WeightQuantizer,
};
use crate::gguf::{ACTIVATIONS_KEY, File, TensorType};
use crate::storage::MappedFile;

/// Where a file does not say, as in llama.cpp.
const USUAL_ROPE_THETA: f64 = 10000.0;
/// Initial weights have no bearing on a trained model.
const USUAL_INITIALIZER_RANGE: f64 = 0.02;

/// What is fixed by an architecture's name.
#[derive(Clone, Copy)]
struct Architecture {
    name: &'static str,
    activation: Activation,
    sub_norms: bool,
    /// Whether rotary positions turn neighbours, so that a converter has reordered the rows of q and k.
    is_interleaved: bool,
}

const ARCHITECTURES: [Architecture; 4] = [
    Architecture { name: "bitnet", activation: Activation::Silu, sub_norms: true, is_interleaved: false },
    Architecture { name: "bitnet-b1.58", activation: Activation::Relu2, sub_norms: true, is_interleaved: false },
    Architecture { name: "bitnet-25", activation: Activation::Relu2, sub_norms: true, is_interleaved: false },
    Architecture { name: "llama", activation: Activation::Silu, sub_norms: false, is_interleaved: true },
];

/// Keys of one architecture in one file.
struct Keys<'a> {
    file: &'a File<MappedFile>,
    architecture: Architecture,
}

/// The model, and whether the rows of its q and k are interleaved.
///
/// # Errors
/// The user's: an architecture or a key that the engine does not have, a key that is missing, or values that no decoder has.
pub(super) fn read(file: &File<MappedFile>) -> Result<(HuggingFaceConfig, bool)> {
    let keys = Keys { file, architecture: architecture(file)? };
    let model = keys.model()?;
    model.validate().map_err(|error| file.error(error))?;
    keys.refuse_foreign(&model)?;
    let id = |key: &str| -> Result<Option<u32>> { Ok(file.unsigned(key)?.and_then(|id| u32::try_from(id).ok())) };
    let tokens = TokenIds { bos: id("tokenizer.ggml.bos_token_id")?, eos: id("tokenizer.ggml.eos_token_id")? };
    Ok((HuggingFaceConfig { model, tokens, packed: None }, keys.architecture.is_interleaved))
}

fn architecture(file: &File<MappedFile>) -> Result<Architecture> {
    let name = file.text("general.architecture")?.ok_or_else(|| file.error("the key `general.architecture` is missing"))?;
    ARCHITECTURES.into_iter().find(|known| known.name == name).ok_or_else(|| {
        let known = ARCHITECTURES.map(|known| known.name).join(", ");
        file.error(format!("`general.architecture` is {name:?}")).hint(format!("the engine runs {known}"))
    })
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture.name)
    }

    fn optional(&self, name: &str) -> Result<Option<usize>> {
        Ok(self.file.unsigned(&self.key(name))?.map(|number| usize::try_from(number).unwrap_or(usize::MAX)))
    }

    fn required(&self, name: &str) -> Result<usize> {
        self.optional(name)?.ok_or_else(|| self.missing(name))
    }

    fn number(&self, name: &str) -> Result<Option<f64>> {
        Ok(self.file.number(&self.key(name))?.map(as_written))
    }

    fn missing(&self, name: &str) -> crate::Error {
        self.file.error(format!("the key `{}` is missing", self.key(name))).hint("convert the model again")
    }

    fn model(&self) -> Result<ModelConfig> {
        let num_attention_heads = self.required("attention.head_count")?;
        Ok(ModelConfig {
            vocab_size: self.vocab_size()?,
            hidden_size: self.required("embedding_length")?,
            intermediate_size: self.required("feed_forward_length")?,
            num_hidden_layers: self.required("block_count")?,
            num_attention_heads,
            num_key_value_heads: self.optional("attention.head_count_kv")?.unwrap_or(num_attention_heads),
            max_position_embeddings: self.required("context_length")?,
            rope_theta: self.number("rope.freq_base")?.unwrap_or(USUAL_ROPE_THETA),
            rms_norm_eps: self
                .number("attention.layer_norm_rms_epsilon")?
                .ok_or_else(|| self.missing("attention.layer_norm_rms_epsilon"))?,
            hidden_act: self.activation()?,
            tie_word_embeddings: self.file.tensor("output.weight").is_none(),
            initializer_range: USUAL_INITIALIZER_RANGE,
            attention: Attention::GroupedQuery,
            sub_norms: self.architecture.sub_norms,
            bit_linear: self.bit_linear()?,
        })
    }

    /// That of the embedding, which some files have beside a key of their own.
    fn vocab_size(&self) -> Result<usize> {
        let embedding = self.file.tensor("token_embd.weight").ok_or_else(|| self.file.error("tensor token_embd.weight is missing"))?;
        match self.optional("vocab_size")? {
            Some(size) => Ok(size),
            None => Ok(embedding.dimensions.get(1).map_or(0, |rows| *rows as usize)),
        }
    }

    /// The architecture's, unless a file says another.
    fn activation(&self) -> Result<Activation> {
        let key = self.key("hidden_act");
        match self.file.text(&key)? {
            None => Ok(self.architecture.activation),
            Some("silu") => Ok(Activation::Silu),
            Some("relu2" | "relu_sqr") => Ok(Activation::Relu2),
            Some(other) => Err(self.file.error(format!("`{key}` is {other:?}: expected silu or relu2"))),
        }
    }

    /// The architectures of BitNet have ternary weights however they are stored; `llama` has them where they are stored so.
    fn bit_linear(&self) -> Result<BitLinearConfig> {
        let weights = match self.architecture.sub_norms || is_ternary(self.file) {
            true => WeightQuantizer::TernaryAbsmean,
            false => WeightQuantizer::None,
        };
        let activations = match self.file.text(ACTIVATIONS_KEY)? {
            Some("int8_absmax") => ActivationQuantizer::Int8Absmax,
            Some("int4_absmean") => ActivationQuantizer::Int4Absmean,
            Some("none") => ActivationQuantizer::None,
            Some(other) => return Err(self.file.error(format!("`{ACTIVATIONS_KEY}` is {other:?}"))),
            None => match weights {
                WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign => ActivationQuantizer::Int8Absmax,
                WeightQuantizer::None => ActivationQuantizer::None,
            },
        };
        Ok(BitLinearConfig { weights, activations, norm: NormPlacement::Outside })
    }

    /// What would load and then compute something else.
    fn refuse_foreign(&self, model: &ModelConfig) -> Result<()> {
        let head_dim = model.head_dim();
        for name in ["rope.dimension_count", "attention.key_length", "attention.value_length"] {
            if let Some(size) = self.optional(name)?.filter(|size| *size != head_dim) {
                let message = format!("`{}` is {size}: heads have to be hidden size / heads = {head_dim} wide", self.key(name));
                return Err(self.file.error(message));
            }
        }
        let scaling = self.file.text(&self.key("rope.scaling.type"))?.filter(|kind| *kind != "none");
        let factor = self.number("rope.scaling.factor")?.or(self.number("rope.scale_linear")?).filter(|factor| *factor != 1.0);
        if scaling.is_some_and(|kind| kind != "linear") || factor.is_some() {
            return Err(self.file.error(format!("`{}` stretches rotary positions, which is not supported", self.key("rope.scaling"))));
        }
        match self.optional("expert_count")? {
            Some(count) if count > 0 => {
                Err(self.file.error(format!("`{}` is {count}: experts are not supported", self.key("expert_count"))))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the projections of the first block are ternary.
fn is_ternary(file: &File<MappedFile>) -> bool {
    file.tensor("blk.0.attn_q.weight").is_some_and(|tensor| TensorType::is_ternary(tensor.kind))
}

/// The decimal number that was rounded to float32: 1e-5 rather than 9.99999974737875e-6.
fn as_written(number: f64) -> f64 {
    let narrow = number as f32;
    if f64::from(narrow) == number { narrow.to_string().parse().unwrap_or(number) } else { number }
}

#[cfg(test)]
mod tests {
    use super::as_written;

    #[test]
    fn numbers_of_float32_are_those_that_were_written() {
        for number in [1e-5, 1e-6, 500_000.0, 0.1] {
            assert_eq!(as_written(f64::from(number as f32)), number);
        }
        assert_eq!(as_written(0.123_456_789_012_345_67), 0.123_456_789_012_345_67);
    }
}
