//! The decoder once more for tests, in plain float64 loops over whole texts, without a cache: nothing of the engine is used, and latent
//! attention expands its keys and values. Only the quantizers' roundings are done in float32, as they are defined.

use super::test_folder::Tensors;
use crate::config::{Activation, ActivationQuantizer, Attention, LatentAttention, ModelConfig, NormPlacement, WeightQuantizer};
use crate::ternary::activations::{int4_absmean, int8_absmax};
use crate::ternary::weights::{sign, ternary_absmean};

type Row = Vec<f64>;

pub(super) struct Reference<'a> {
    pub model: &'a ModelConfig,
    pub tensors: &'a Tensors,
}

impl Reference<'_> {
    /// Logits after each token, `[tokens][vocabulary]`.
    pub fn logits(&self, ids: &[u32]) -> Vec<Row> {
        let table = |name: &str| -> Vec<Row> {
            let (shape, numbers) = &self.tensors[name];
            numbers.chunks(shape[1]).map(widened).collect()
        };
        let embedding = table("model.embed_tokens.weight");
        let mut rows: Vec<Row> = ids.iter().map(|&id| embedding[id as usize].clone()).collect();
        for layer in 0..self.model.num_hidden_layers {
            self.block(&format!("model.layers.{layer}"), &mut rows);
        }
        let head = if self.model.tie_word_embeddings { embedding } else { table("lm_head.weight") };
        let normed = rows.iter().map(|row| self.norm("model.norm", row, self.model.rms_norm_eps));
        normed.map(|row| head.iter().map(|weights| dot(weights, &row)).collect()).collect()
    }

    fn block(&self, prefix: &str, rows: &mut [Row]) {
        let normed = self.outside(prefix, "input_layernorm", rows);
        let mixed = match self.model.attention {
            Attention::GroupedQuery => self.grouped(prefix, &normed),
            Attention::Latent(sizes) => self.latent(prefix, &normed, sizes),
        };
        let mixed = self.sub_norm(&format!("{prefix}.self_attn.attn_sub_norm"), mixed);
        add(rows, self.linear(&format!("{prefix}.self_attn.o_proj"), &mixed));
        let normed = self.outside(prefix, "post_attention_layernorm", rows);
        let [gate, up] = ["gate_proj", "up_proj"].map(|name| self.linear(&format!("{prefix}.mlp.{name}"), &normed));
        let act = |gate: f64| match self.model.hidden_act {
            Activation::Relu2 => gate.max(0.0).powi(2),
            Activation::Silu => gate / (1.0 + (-gate).exp()),
        };
        let gated = gate.iter().zip(&up).map(|(gate, up)| gate.iter().zip(up).map(|(gate, up)| act(*gate) * up).collect()).collect();
        let gated = self.sub_norm(&format!("{prefix}.mlp.ffn_sub_norm"), gated);
        add(rows, self.linear(&format!("{prefix}.mlp.down_proj"), &gated));
    }

    fn grouped(&self, prefix: &str, rows: &[Row]) -> Vec<Row> {
        let size = self.model.head_dim();
        let [query, key, value] =
            ["q_proj", "k_proj", "v_proj"].map(|name| heads(&self.linear(&format!("{prefix}.self_attn.{name}"), rows), size));
        let (query, key) = (self.turned(&query, 0), self.turned(&key, 0));
        let group = self.model.num_attention_heads / self.model.num_key_value_heads;
        let head = |index: usize, position: usize| {
            attend(&query[position][index], position, |at| (&key[at][index / group], &value[at][index / group]))
        };
        (0..rows.len()).map(|position| (0..query[0].len()).flat_map(|index| head(index, position)).collect()).collect()
    }

    fn latent(&self, prefix: &str, rows: &[Row], sizes: LatentAttention) -> Vec<Row> {
        let name = |name: &str| format!("{prefix}.self_attn.{name}");
        let normed = |norm: &str, rows: &[Row]| -> Vec<Row> { rows.iter().map(|row| self.norm(&name(norm), row, 1e-6)).collect() };
        let query = match sizes.q_lora_rank {
            Some(_) => self.linear(&name("q_b_proj"), &normed("q_a_layernorm", &self.linear(&name("q_a_proj"), rows))),
            None => self.linear(&name("q_proj"), rows),
        };
        let query = self.turned(&heads(&query, sizes.qk_head_dim()), sizes.qk_nope_head_dim);
        let compressed = self.linear(&name("kv_a_proj_with_mqa"), rows);
        let (latent, shared): (Vec<Row>, Vec<Row>) =
            compressed.iter().map(|row| (row[..sizes.kv_lora_rank].to_vec(), row[sizes.kv_lora_rank..].to_vec())).unzip();
        let shared = self.turned(&heads(&shared, sizes.qk_rope_head_dim), 0);
        let expanded =
            heads(&self.linear(&name("kv_b_proj"), &normed("kv_a_layernorm", &latent)), sizes.qk_nope_head_dim + sizes.v_head_dim);
        let split = |at: usize, index: usize| {
            let (plain, value) = expanded[at][index].split_at(sizes.qk_nope_head_dim);
            ([plain, &shared[at][0]].concat(), value.to_vec())
        };
        let head = |index: usize, position: usize| attend(&query[position][index], position, |at| split(at, index));
        (0..rows.len()).map(|position| (0..self.model.num_attention_heads).flat_map(|index| head(index, position)).collect()).collect()
    }

    /// The features from `start` on of every head turned by its position.
    fn turned(&self, rows: &[Vec<Row>], start: usize) -> Vec<Vec<Row>> {
        let turn = |position: usize, head: &Row| {
            let mut turned = head.clone();
            let half = (head.len() - start) / 2;
            for index in 0..half {
                // Frequencies and angles are float32 in every implementation.
                let exponent = 2.0 * index as f32 / (2 * half) as f32;
                let frequency = (f64::from(self.model.rope_theta as f32)).powf(-f64::from(exponent)) as f32;
                let (sine, cosine) = f64::from(position as f32 * frequency).sin_cos();
                let (first, second) = (head[start + index], head[start + half + index]);
                turned[start + index] = first * cosine - second * sine;
                turned[start + half + index] = second * cosine + first * sine;
            }
            turned
        };
        rows.iter().enumerate().map(|(position, heads)| heads.iter().map(|head| turn(position, head)).collect()).collect()
    }

    /// A BitLinear: the norm inside, both quantizers, the product.
    fn linear(&self, name: &str, rows: &[Row]) -> Vec<Row> {
        let (shape, weights) = &self.tensors[&format!("{name}.weight")];
        let weights: Row = match self.model.bit_linear.weights {
            WeightQuantizer::TernaryAbsmean => widened(&ternary_absmean(weights).unwrap().values()),
            WeightQuantizer::Sign => widened(&sign(weights).unwrap().values()),
            WeightQuantizer::None => widened(weights),
        };
        let product = |row: &Row| {
            let normed = match self.model.bit_linear.norm {
                NormPlacement::Inside => self.norm(&format!("{name}.norm"), row, self.model.rms_norm_eps),
                NormPlacement::Outside => row.clone(),
            };
            let narrow: Vec<f32> = normed.iter().map(|&number| number as f32).collect();
            let input = match self.model.bit_linear.activations {
                ActivationQuantizer::Int8Absmax => widened(&int8_absmax(&narrow).unwrap().values()),
                ActivationQuantizer::Int4Absmean => widened(&int4_absmean(&narrow).unwrap().values()),
                ActivationQuantizer::None => normed,
            };
            weights.chunks(shape[1]).map(|weights| dot(weights, &input)).collect()
        };
        rows.iter().map(product).collect()
    }

    fn norm(&self, name: &str, row: &[f64], eps: f64) -> Row {
        let weight = widened(&self.tensors[&format!("{name}.weight")].1);
        let factor = 1.0 / (dot(row, row) / row.len() as f64 + eps).sqrt();
        row.iter().zip(weight).map(|(number, weight)| number * factor * weight).collect()
    }

    fn outside(&self, prefix: &str, name: &str, rows: &[Row]) -> Vec<Row> {
        match self.model.bit_linear.norm {
            NormPlacement::Inside => rows.to_vec(),
            NormPlacement::Outside => rows.iter().map(|row| self.norm(&format!("{prefix}.{name}"), row, self.model.rms_norm_eps)).collect(),
        }
    }

    fn sub_norm(&self, name: &str, rows: Vec<Row>) -> Vec<Row> {
        match self.model.has_sub_norms() {
            true => rows.iter().map(|row| self.norm(name, row, self.model.rms_norm_eps)).collect(),
            false => rows,
        }
    }
}

fn attend<K: AsRef<[f64]>, V: AsRef<[f64]>>(query: &[f64], position: usize, row: impl Fn(usize) -> (K, V)) -> Row {
    let scores: Row = (0..=position).map(|at| dot(query, row(at).0.as_ref()) / (query.len() as f64).sqrt()).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Row = scores.iter().map(|score| (score - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut mixed = vec![0.0; row(0).1.as_ref().len()];
    for (at, weight) in weights.iter().enumerate() {
        mixed.iter_mut().zip(row(at).1.as_ref()).for_each(|(sum, value)| *sum += weight / total * value);
    }
    mixed
}

/// `[tokens][heads][size]`.
fn heads(rows: &[Row], size: usize) -> Vec<Vec<Row>> {
    rows.iter().map(|row| row.chunks(size).map(<[f64]>::to_vec).collect()).collect()
}

fn add(rows: &mut [Row], more: Vec<Row>) {
    rows.iter_mut().zip(more).for_each(|(row, more)| row.iter_mut().zip(more).for_each(|(number, more)| *number += more));
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

fn widened(numbers: &[f32]) -> Row {
    numbers.iter().copied().map(f64::from).collect()
}
