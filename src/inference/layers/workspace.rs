//! The memory of a forward pass: taken once for the largest batch, used by every layer and every pass. It also holds where each row of the
//! batch stands in its text.

use super::cache::Cache;
use super::linear::Inputs;
use super::parallel::for_each_piece;
use super::rotary::Rotary;
use super::table::TableScratch;
use crate::config::{Attention, ModelConfig};
use crate::ternary::large_pages::vec_on_large_pages;
use crate::ternary::threads::Threads;
use std::ops::{Deref, DerefMut};

/// Tokens of one text, which follow those that its cache has read.
#[derive(Debug)]
pub struct Chunk<'a> {
    /// The memory of the text.
    pub cache: &'a mut Cache,
    /// At least one.
    pub tokens: &'a [u32],
    /// The positions whose next token is asked for.
    pub logits: Wanted,
}

/// Which tokens of a [`Chunk`] get logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// None: more of the prompt follows.
    Nothing,
    /// The last one.
    Last,
    /// Every one.
    All,
}

/// Where a row of a batch comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// Index of its chunk.
    pub chunk: usize,
    /// In its text, from 0.
    pub position: usize,
}

/// Memory for batches of one model, up to a number of tokens.
#[derive(Debug)]
pub struct Workspace {
    pub(super) max_tokens: usize,
    pub(super) rows: Vec<Row>,
    pub(super) rotary: Rotary,
    pub(super) buffers: Buffers,
    pub(super) logits: Vec<f32>,
    pub(super) scratch: TableScratch,
}

/// A layer's view of a pass.
pub(super) struct Pass<'a, 'c> {
    pub chunks: &'a mut [Chunk<'c>],
    pub rows: &'a [Row],
    pub rotary: &'a Rotary,
    pub buffers: &'a mut Buffers,
    pub threads: &'a Threads,
    pub layer: usize,
}

/// Features of all rows, one row behind the other.
#[derive(Debug)]
pub(super) struct Buffers {
    pub residual: Buffer,
    /// What is added to the residual stream next.
    pub projected: Buffer,
    pub gate: Buffer,
    pub up: Buffer,
    pub query: Buffer,
    /// Keys; the latent and the shared key where attention is latent.
    pub key: Buffer,
    pub value: Buffer,
    /// What attention gives to its output projection.
    pub mixed: Buffer,
    /// What latent attention needs: the query's latent, the queries in the space of latents, and the latents that they mixed.
    pub squeezed: Buffer,
    pub absorbed: Buffer,
    pub latents: Buffer,
    pub inputs: Inputs,
}

/// `[rows, width]`.
#[derive(Debug)]
pub(super) struct Buffer {
    numbers: Vec<f32>,
    width: usize,
}

impl Workspace {
    pub(super) fn new(model: &ModelConfig, max_tokens: usize) -> Self {
        Self {
            max_tokens,
            rows: Vec::with_capacity(max_tokens),
            rotary: Rotary::new(model.rotary_dim(), model.rope_theta),
            buffers: Buffers::new(model, max_tokens),
            logits: Vec::new(),
            scratch: TableScratch::default(),
        }
    }

    /// The most tokens of a batch.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Bytes that it takes, logits included.
    pub fn num_bytes(&self) -> usize {
        self.buffers.num_bytes() + size_of_val(&self.logits[..]) + self.scratch.num_bytes()
    }
}

impl Buffers {
    fn new(model: &ModelConfig, max_tokens: usize) -> Self {
        let buffer = |width: usize| Buffer { numbers: vec_on_large_pages(max_tokens * width), width };
        let heads = model.num_attention_heads;
        let (query, key, value, squeezed, latent) = match model.attention {
            Attention::GroupedQuery => (model.hidden_size, model.key_value_size(), model.key_value_size(), 0, 0),
            Attention::Latent(it) => {
                let (query, key) = (heads * it.qk_head_dim(), it.kv_lora_rank + it.qk_rope_head_dim);
                (query, key, 0, it.q_lora_rank.unwrap_or(0), heads * it.kv_lora_rank)
            }
        };
        let widest = model.projections().iter().map(|shape| shape.inputs).max().unwrap_or(0);
        Self {
            residual: buffer(model.hidden_size),
            projected: buffer(model.hidden_size),
            gate: buffer(model.intermediate_size),
            up: buffer(model.intermediate_size),
            query: buffer(query),
            key: buffer(key),
            value: buffer(value),
            mixed: buffer(model.attention_size()),
            squeezed: buffer(squeezed),
            absorbed: buffer(latent),
            latents: buffer(latent),
            inputs: Inputs::new(max_tokens, widest),
        }
    }

    fn all(&mut self) -> [&mut Buffer; 11] {
        let Self { residual, projected, gate, up, query, key, value, mixed, squeezed, absorbed, latents, .. } = self;
        [residual, projected, gate, up, query, key, value, mixed, squeezed, absorbed, latents]
    }

    /// From now on every buffer has `count` rows.
    pub fn set_rows(&mut self, count: usize) {
        self.all().into_iter().for_each(|buffer| buffer.numbers.resize(count * buffer.width, 0.0));
    }

    /// Adds what was projected to the residual stream.
    pub fn add_projected(&mut self, threads: &Threads) {
        let (width, projected) = (self.residual.width, &*self.projected);
        for_each_piece(threads, &mut self.residual, width, width, |row, residual| {
            residual.iter_mut().zip(&projected[row * width..]).for_each(|(residual, projected)| *residual += projected);
        });
    }

    fn num_bytes(&self) -> usize {
        let Self { residual, projected, gate, up, query, key, value, mixed, squeezed, absorbed, latents, .. } = self;
        let buffers = [residual, projected, gate, up, query, key, value, mixed, squeezed, absorbed, latents];
        buffers.iter().map(|buffer| buffer.numbers.capacity() * size_of::<f32>()).sum()
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers
    }
}
