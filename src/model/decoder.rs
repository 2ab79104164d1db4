//! The whole network, from token ids to logits.

use super::RotaryTables;
use super::bit_linear::{BitLinear, BitLinearOptions, kind};
use super::block::Block;
use super::cache::Cache;
use super::fast::has_tiles;
use super::matrix::matrix;
use super::norm::RmsNorm;
use super::pass::Pass;
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

/// Embedding, blocks, final norm and head, and how they are computed.
#[derive(Debug, Clone)]
pub struct Decoder {
    layers: Rc<Layers>, // shared with the graph of a checkpointed pass
    precision: Precision,
    keeps: Activations,
    pass: Pass,
}

#[derive(Debug)]
struct Layers {
    embedding: Tensor, // [vocabulary, hidden]
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Option<Tensor>, // [vocabulary, hidden]; none where it is the embedding
    rotary: RotaryTables,
}

impl Decoder {
    /// A decoder whose parameters live below `path` under Hugging Face's names, freshly initialized:
    /// matrices from N(0, `initializer_range`²), norms at one. With the usual 0.02 the first loss is close to ln(vocabulary).
    pub fn new(path: &Path, model: &ModelConfig, precision: Precision) -> Self {
        let options = BitLinearOptions::of(model, precision);
        let shape = [model.vocab_size as i64, model.hidden_size as i64];
        let inner = path / "model";
        let layers = Layers {
            embedding: matrix(&(&inner / "embed_tokens"), shape, model.initializer_range),
            blocks: (0..model.num_hidden_layers).map(|index| Block::new(&(&inner / "layers" / index), model, options)).collect(),
            norm: RmsNorm::new(&inner / "norm", model.hidden_size, model.rms_norm_eps),
            head: (!model.tie_word_embeddings).then(|| matrix(&(path / "lm_head"), shape, model.initializer_range)),
            rotary: RotaryTables::new(model.rotary_dim(), model.max_position_embeddings, model.rope_theta, path.device()),
        };
        Self { layers: Rc::new(layers), precision, keeps: Activations::All, pass: Pass::default() }
    }

    /// The same decoder, which keeps this much of a forward pass for the backward one. Gradients are the same either way.
    #[must_use]
    pub fn keeping(mut self, keeps: Activations) -> Self {
        self.keeps = keeps;
        self
    }

    /// The same parameters, in passes of another kind.
    #[must_use]
    pub fn in_pass(&self, pass: Pass) -> Self {
        Self { pass, ..self.clone() }
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
        let Layers { embedding, blocks, norm, rotary, .. } = &*self.layers;
        let mut residual = Tensor::embedding(embedding, token_ids, -1, false, false);
        let mut caches = cache.map(|cache| cache.layers(blocks.len()).iter_mut());
        for (index, block) in blocks.iter().enumerate() {
            residual = match (self.keeps, &mut caches) {
                (Activations::BlockInputs, None) => self.checkpointed(index, &residual),
                (Activations::BlockInputs | Activations::All, caches) => {
                    block.forward(&residual, self.pass, rotary, caches.as_mut().and_then(Iterator::next))
                }
            };
        }
        norm.forward(&residual)
    }

    fn checkpointed(&self, index: usize, residual: &Tensor) -> Tensor {
        let (layers, pass) = (Rc::clone(&self.layers), self.pass);
        checkpointed(residual, move |residual| layers.blocks[index].forward(residual, pass, &layers.rotary, None))
    }

    fn logits(&self, hidden: &Tensor) -> Tensor {
        let kind = kind(self.precision);
        hidden.to_kind(kind).linear(&self.head().to_kind(kind), None::<&Tensor>).to_kind(Kind::Float)
    }

    fn head(&self) -> &Tensor {
        self.layers.head.as_ref().unwrap_or(&self.layers.embedding)
    }

    /// Where the parameters are.
    pub fn device(&self) -> Device {
        self.layers.embedding.device()
    }

    /// Every BitLinear with its layer and its name, in the order of a forward pass.
    pub fn projections(&self) -> impl Iterator<Item = (usize, &'static str, &BitLinear)> {
        let layers = self.layers.blocks.iter().enumerate();
        layers.flat_map(|(layer, block)| block.projections().map(move |(name, projection)| (layer, name, projection)))
    }
}
