//! What the weight quantizer makes of every matrix: the share of each code, and the share that changed since the last record.

use crate::config::WeightQuantizer;
use crate::model::{Decoder, weight_codes};
use crate::run::CodesRow;
use std::collections::BTreeMap;
use tch::{Kind, Tensor};

/// The codes of the last record, by `layers.<index>.<matrix>`; part of a checkpoint, so that flips go on where they stopped.
#[derive(Debug, Default)]
pub struct CodeRecord {
    last: BTreeMap<String, Tensor>,
}

impl CodeRecord {
    /// Counts the codes of every projection of `decoder` and compares them with the last record's, whose place they take.
    pub fn update(&mut self, decoder: &Decoder, quantizer: WeightQuantizer, step: u64) -> Vec<CodesRow> {
        decoder
            .projections()
            .map(|(layer, matrix, projection)| {
                let codes = weight_codes(projection.weight(), quantizer).0.to_kind(Kind::Int8);
                let key = format!("layers.{layer}.{matrix}");
                let flipped = self.last.get(&key).map_or(0.0, |last| share(&codes.not_equal_tensor(last)));
                let [minus, zero, plus] = [-1, 0, 1].map(|code| share(&codes.eq(code)));
                self.last.insert(key, codes);
                CodesRow { step, layer, matrix: matrix.to_string(), minus, zero, plus, flipped }
            })
            .collect()
    }

    /// The codes as named tensors, int8 of each matrix's shape.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.last.iter().map(|(name, codes)| (name.clone(), codes.shallow_clone())).collect()
    }

    /// Takes back what [`Self::tensors`] gave.
    pub fn restore(&mut self, tensors: BTreeMap<String, Tensor>, decoder: &Decoder) {
        self.last = tensors.into_iter().map(|(name, codes)| (name, codes.to_device(decoder.device()))).collect();
    }
}

/// The share of true elements.
fn share(mask: &Tensor) -> f64 {
    mask.sum(Kind::Int64).int64_value(&[]) as f64 / mask.numel() as f64
}
