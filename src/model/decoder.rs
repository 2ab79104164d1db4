//! The whole network, from token ids to logits.

use super::RotaryTables;
use super::bit_linear::{BitLinear, BitLinearOptions, kind};
use super::block::Block;
use super::cache::Cache;
use super::fast::has_tiles;
use super::matrix::matrix;
use super::norm::RmsNorm;
use crate::config::{ModelConfig, Precision};
use crate::libtorch::{checkpointed, fused};
use std::rc::Rc;
use tch::nn::{Module, Path};
use tch::{Device, Kind, Reduction, Tensor};

/// What a forward pass keeps for the backward one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activations {
    /// All that gradients need.
    All,
    /// The residual stream before each block; the backward pass computes the block again, which takes a third more time.
    BlockInputs,
}

/// Embedding, blocks, final norm and head.
#[derive(Debug)]
pub struct Decoder {
    embedding: Tensor,      // [vocabulary, hidden]
    blocks: Vec<Rc<Block>>, // shared with the graph of a checkpointed pass
    norm: RmsNorm,
    head: Option<Tensor>, // [vocabulary, hidden]; none where it is the embedding
    rotary: Rc<RotaryTables>,
    precision: Precision,
    keeps: Activations,
}

impl Decoder {
    /// A decoder whose parameters live below `path` under Hugging Face's names, freshly initialized:
    /// matrices from N(0, `initializer_range`²), norms at one. With the usual 0.02 the first loss is close to ln(vocabulary).
    pub fn new(path: &Path, model: &ModelConfig, precision: Precision) -> Self {
        let options = BitLinearOptions::of(model, precision);
        let shape = [model.vocab_size as i64, model.hidden_size as i64];
        let inner = path / "model";
        Self {
            embedding: matrix(&(&inner / "embed_tokens"), shape, model.initializer_range),
            blocks: (0..model.num_hidden_layers).map(|index| Rc::new(Block::new(&(&inner / "layers" / index), model, options))).collect(),
            norm: RmsNorm::new(&inner / "norm", model.hidden_size, model.rms_norm_eps),
            head: (!model.tie_word_embeddings).then(|| matrix(&(path / "lm_head"), shape, model.initializer_range)),
            rotary: Rc::new(RotaryTables::new(model.rotary_dim(), model.max_position_embeddings, model.rope_theta, path.device())),
            keeps: Activations::All,
            precision,
        }
    }

    /// The same decoder, which keeps so much of a forward pass for the backward one. Gradients are the same either way.
    #[must_use]
    pub fn keeping(mut self, keeps: Activations) -> Self {
        self.keeps = keeps;
        self
    }

    /// Token ids, int64 `[batch, sequence]`, to logits, float32 `[batch, sequence, vocabulary]`.
    pub fn forward(&self, token_ids: &Tensor) -> Tensor {
        self.logits(&self.hidden(token_ids, None))
    }

    /// Logits of tokens that follow those that `cache` has read, which reads them, too: those of [`Self::forward`] for the whole text, to a
    /// rounding, without computing anything of earlier tokens again. Together they are at most `max_position_embeddings` tokens.
    pub fn forward_cached(&self, token_ids: &Tensor, cache: &mut Cache) -> Tensor {
        self.logits(&self.hidden(token_ids, Some(cache)))
    }

    /// The mean loss of the next tokens, in nats, a scalar; positions whose target is `ignored` do not count. Both are int64
    /// `[batch, sequence]`.
    pub fn next_token_loss(&self, token_ids: &Tensor, targets: &Tensor, ignored: i64) -> Tensor {
        let hidden = self.hidden(token_ids, None);
        if has_tiles(&hidden, kind(self.precision)) {
            return fused::head_cross_entropy(&hidden, self.head(), targets, ignored);
        }
        let logits = self.logits(&hidden).flatten(0, 1);
        logits.cross_entropy_loss(&targets.flatten(0, 1), None::<&Tensor>, Reduction::Mean, ignored, 0.0)
    }

    /// What the head reads, float32 `[batch, sequence, hidden]`.
    fn hidden(&self, token_ids: &Tensor, cache: Option<&mut Cache>) -> Tensor {
        let mut residual = Tensor::embedding(&self.embedding, token_ids, -1, false, false);
        let mut layers = cache.map(|cache| cache.layers(self.blocks.len()).iter_mut());
        for block in &self.blocks {
            residual = match (self.keeps, &mut layers) {
                (Activations::BlockInputs, None) => self.checkpointed(block, &residual),
                (_, layers) => block.forward(&residual, &self.rotary, layers.as_mut().and_then(Iterator::next)),
            };
        }
        self.norm.forward(&residual)
    }

    fn checkpointed(&self, block: &Rc<Block>, residual: &Tensor) -> Tensor {
        let (block, rotary) = (Rc::clone(block), Rc::clone(&self.rotary));
        checkpointed(residual, move |residual| block.forward(residual, &rotary, None))
    }

    fn logits(&self, hidden: &Tensor) -> Tensor {
        let kind = kind(self.precision);
        hidden.to_kind(kind).linear(&self.head().to_kind(kind), None::<&Tensor>).to_kind(Kind::Float)
    }

    fn head(&self) -> &Tensor {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// Where the parameters are.
    pub fn device(&self) -> Device {
        self.embedding.device()
    }

    /// From now on every BitLinear computes with `share` of its quantizers: 0 is full precision, 1, as at first, quantized.
    pub fn set_quantization_share(&self, share: f64) {
        self.projections().for_each(|(_, _, projection)| projection.set_quantization_share(share));
    }

    /// Every BitLinear with its layer and its name, in the order of a forward pass.
    pub fn projections(&self) -> impl Iterator<Item = (usize, &'static str, &BitLinear)> {
        let layers = self.blocks.iter().enumerate();
        layers.flat_map(|(layer, block)| block.projections().map(move |(name, projection)| (layer, name, projection)))
    }
}
