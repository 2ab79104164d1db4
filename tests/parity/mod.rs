//! How far the logits of two implementations are apart, position by position, on texts that both read; and how far one code of an activation
//! reaches, which a rounding may move to the next.
#![allow(dead_code)] // each test program uses a part

use bitnet::config::{ActivationQuantizer, ModelConfig, Precision};
use bitnet::model::Decoder;
use std::collections::BTreeMap;
use std::fmt;
use tch::nn::VarStore;
use tch::{Device, Tensor, no_grad};

/// Differences of the order of float32's roundings, over the largest logit.
pub const ROUNDING: f64 = 2e-5;

/// Positions at which two halves were compared. Differences are shares of the largest logit.
#[derive(Debug, Default, Clone, Copy)]
pub struct Comparison {
    pub positions: usize,
    /// Those whose logits differ by more than roundings.
    pub apart: usize,
    /// Those whose likeliest token is another.
    pub other_token: usize,
    /// The largest difference of a logit.
    pub largest: f64,
    /// The largest distance of two logits of which each half takes another for the likeliest.
    pub largest_gap: f64,
}

impl Comparison {
    /// Logits, so many a position.
    pub fn new(found: &[f32], expected: &[f32], vocab_size: usize) -> Self {
        assert_eq!(found.len(), expected.len());
        let magnitude = expected.iter().fold(0f64, |largest, logit| largest.max(f64::from(logit.abs())));
        let mut sum = Self::default();
        for (found, expected) in found.chunks(vocab_size).zip(expected.chunks(vocab_size)) {
            let largest =
                found.iter().zip(expected).map(|(found, expected)| f64::from((found - expected).abs())).fold(0.0, f64::max) / magnitude;
            let gap = f64::from(expected[likeliest(expected)] - expected[likeliest(found)]) / magnitude;
            sum = sum.and(Self {
                positions: 1,
                apart: usize::from(largest > ROUNDING),
                other_token: usize::from(likeliest(found) != likeliest(expected)),
                largest,
                largest_gap: gap,
            });
        }
        sum
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            positions: self.positions + other.positions,
            apart: self.apart + other.apart,
            other_token: self.other_token + other.other_token,
            largest: self.largest.max(other.largest),
            largest_gap: self.largest_gap.max(other.largest_gap),
        }
    }
}

/// The token with the largest logit.
pub fn likeliest(logits: &[f32]) -> usize {
    (0..logits.len()).max_by(|&left, &right| logits[left].total_cmp(&logits[right])).unwrap()
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { positions, apart, other_token, largest, largest_gap } = self;
        write!(
            formatter,
            "{apart} of {positions} positions apart, by {largest:.1e} at most, {other_token} with another likeliest token, {largest_gap:.1e} behind"
        )
    }
}

/// A decoder with the weights of `seed`, and its parameters.
pub fn fresh(config: &ModelConfig, seed: u64) -> (BTreeMap<String, Tensor>, Decoder) {
    bitnet::libtorch::random::seed(seed).unwrap();
    let store = VarStore::new(Device::Cpu);
    let decoder = Decoder::new(&store.root(), config, Precision::Float32);
    (store.variables().into_iter().collect(), decoder)
}

/// What moving one code of one activation by one changes in the logits, at most, over the largest of them: one feature of one token's
/// embedding is moved by a step of the first quantizer, in each of many copies of `text`, and the decoder reads all. None without codes.
pub fn reach_of_a_code(config: &ModelConfig, parameters: &BTreeMap<String, Tensor>, text: &[u32]) -> f64 {
    const TWINS: usize = 96;
    let (size, vocabulary) = (config.hidden_size, config.vocab_size);
    let embedding = floats(&parameters["model.embed_tokens.weight"]);
    let (mut twins, mut texts) = (Vec::new(), vec![text.to_vec()]);
    for twin in 0..TWINS {
        let place = twin * text.len() / TWINS;
        let mut row = embedding[text[place] as usize * size..][..size].to_vec();
        let step = match config.bit_linear.activations {
            ActivationQuantizer::None => return 0.0,
            ActivationQuantizer::Int8Absmax => row.iter().fold(0f32, |largest, number| largest.max(number.abs())) / 127.0,
            ActivationQuantizer::Int4Absmean => row.iter().map(|number| number.abs()).sum::<f32>() / size as f32 / 7f32.sqrt(),
        };
        row[twin * 7 % size] += step;
        twins.extend(row);
        let mut copy = text.to_vec();
        copy[place] = (vocabulary + twin) as u32;
        texts.push(copy);
    }
    // The same model with a twin's row for each of these tokens, which are never said.
    let wider = ModelConfig { vocab_size: vocabulary + TWINS, tie_word_embeddings: false, ..config.clone() };
    let (wide, decoder) = fresh(&wider, 0);
    let twins = Tensor::from_slice(&twins).view([TWINS as i64, size as i64]);
    let head = parameters.get("lm_head.weight").unwrap_or(&parameters["model.embed_tokens.weight"]);
    no_grad(|| {
        for (name, mut tensor) in wide {
            match name.as_str() {
                "model.embed_tokens.weight" => tensor.copy_(&Tensor::cat(&[&parameters[&name], &twins], 0)),
                "lm_head.weight" => tensor.copy_(&Tensor::cat(&[head, &twins.zeros_like()], 0)),
                _ => tensor.copy_(&parameters[&name]),
            }
        }
    });
    let logits = logits(&decoder, &texts);
    let stride = vocabulary + TWINS;
    let said =
        |copy: usize| logits[copy * text.len() * stride..][..text.len() * stride].chunks(stride).flat_map(move |row| &row[..vocabulary]);
    let magnitude = said(0).fold(0f32, |largest, logit| largest.max(logit.abs()));
    let apart = (1..=TWINS).flat_map(|twin| said(twin).zip(said(0)).map(|(moved, logit)| (moved - logit).abs()));
    f64::from(apart.fold(0f32, f32::max) / magnitude)
}

/// How far apart logits may be: as two codes that are moved at once, and roundings, take them.
pub fn limit(config: &ModelConfig, parameters: &BTreeMap<String, Tensor>, text: &[u32]) -> f64 {
    2.0 * reach_of_a_code(config, parameters, text) + ROUNDING
}

/// Logits behind each token of texts of one length, by the decoder.
pub fn logits(decoder: &Decoder, texts: &[Vec<u32>]) -> Vec<f32> {
    let ids: Vec<i64> = texts.concat().into_iter().map(i64::from).collect();
    floats(&no_grad(|| decoder.forward(&Tensor::from_slice(&ids).view([texts.len() as i64, -1]))))
}

/// All numbers, row by row.
pub fn floats(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.detach().contiguous().flatten(0, -1)).unwrap()
}
