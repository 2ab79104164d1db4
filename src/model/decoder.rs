//! The whole network, from token ids to logits.

use super::RotaryTables;
use super::bit_linear::{BitLinear, BitLinearOptions, kind};
use super::block::Block;
use super::norm::RmsNorm;
use crate::config::{ModelConfig, Precision};
use tch::nn::{Init, Module, Path};
use tch::{Device, Kind, Tensor};

/// Embedding, blocks, final norm and head.
#[derive(Debug)]
pub struct Decoder {
    embedding: Tensor, // [vocabulary, hidden]
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Option<Tensor>, // [vocabulary, hidden]; none where it is the embedding
    rotary: RotaryTables,
    precision: Precision,
}

impl Decoder {
    /// A decoder whose parameters live below `path` under Hugging Face's names, freshly initialized:
    /// matrices from N(0, `initializer_range`), norms at one, so that the first loss is close to ln(vocabulary).
    pub fn new(path: &Path, model: &ModelConfig, precision: Precision) -> Self {
        let options = BitLinearOptions::of(model, precision);
        let shape = [model.vocab_size as i64, model.hidden_size as i64];
        let init = Init::Randn { mean: 0.0, stdev: model.initializer_range };
        let inner = path / "model";
        Self {
            embedding: (&inner / "embed_tokens").var("weight", &shape, init),
            blocks: (0..model.num_hidden_layers).map(|index| Block::new(&(&inner / "layers" / index), model, options)).collect(),
            norm: RmsNorm::new(&inner / "norm", model.hidden_size, model.rms_norm_eps),
            head: (!model.tie_word_embeddings).then(|| (path / "lm_head").var("weight", &shape, init)),
            rotary: RotaryTables::new(model.head_dim(), model.max_position_embeddings, model.rope_theta, path.device()),
            precision,
        }
    }

    /// Token ids, int64 `[batch, sequence]`, to logits, float32 `[batch, sequence, vocabulary]`.
    pub fn forward(&self, token_ids: &Tensor) -> Tensor {
        let mut residual = Tensor::embedding(&self.embedding, token_ids, -1, false, false);
        for block in &self.blocks {
            residual = block.forward(&residual, &self.rotary);
        }
        let hidden = self.norm.forward(&residual).to_kind(kind(self.precision));
        let head = self.head.as_ref().unwrap_or(&self.embedding).to_kind(kind(self.precision));
        hidden.linear(&head, None::<&Tensor>).to_kind(Kind::Float)
    }

    /// Where the parameters are.
    pub fn device(&self) -> Device {
        self.embedding.device()
    }

    /// Every BitLinear with its layer and its name, in the order of a forward pass.
    pub fn projections(&self) -> impl Iterator<Item = (usize, &'static str, &BitLinear)> {
        let layers = self.blocks.iter().enumerate();
        layers.flat_map(|(layer, block)| block.projections().map(move |(name, projection)| (layer, name, projection)))
    }
}
