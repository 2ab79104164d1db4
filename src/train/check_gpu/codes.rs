//! The codes of both quantizers, computed on the device and on the CPU. A row's scale is its largest magnitude, which is exact, so its codes
//! have to be equal. A matrix's scale is a mean, whose sum may be rounded otherwise: its codes may differ where a weight lies on the border
//! between two of them, to that rounding.

use super::finding::{Finding, Table};
use super::models::Scale;
use super::setting::device_word;
use crate::Result;
use crate::config::{ActivationQuantizer, WeightQuantizer};
use crate::libtorch::random::{normal, seed};
use crate::libtorch::{caught, sent};
use crate::model::{quantize_activations, weight_codes};
use serde_json::json;
use tch::{Device, Kind, Tensor, no_grad};

/// Features of a row.
const WIDTH: i64 = 64;
/// Rows that are compared at a time.
const PIECE: i64 = 50_000;
/// How far, as a share, the scale of a matrix may be from the CPU's, and a weight whose code differs from its border.
const SCALE_TOLERANCE: f64 = 1e-5;

struct Differences {
    rows: i64,
    different_rows: i64,
    weights: i64,
    different_weights: i64,
    /// Of these, the largest distance to a border between codes, as a share of the scale.
    farthest: f64,
    /// The largest of any matrix, as a share.
    scale: f64,
}

pub(super) fn look(device: Device, scale: Scale) -> Result<Finding> {
    let rows = if scale == Scale::Tiny { 5_000 } else { 1_000_000 };
    seed(1)?;
    let found = caught(|| Ok(compare(device, rows)))?;
    let is_right = found.different_rows == 0 && found.farthest <= SCALE_TOLERANCE && found.scale <= SCALE_TOLERANCE;
    let word = device_word(device);
    let mut table = Table::new("Codes", &["what", "compared", "different", "how far"]);
    table.push(["rows of 8-bit activations".into(), found.rows.to_string(), found.different_rows.to_string(), "must be equal".into()]);
    let far = format!("{:.1e} of the scale from a border; scales {:.1e} apart", found.farthest, found.scale);
    table.push(["ternary weights".into(), found.weights.to_string(), found.different_weights.to_string(), far]);
    Ok(Finding {
        is_right: Some(is_right),
        summary: format!(
            "{} of {} rows differ between {word} and CPU, {} of {} weights",
            found.different_rows, found.rows, found.different_weights, found.weights
        ),
        table,
        numbers: json!({
            "rows": found.rows, "different_rows": found.different_rows, "weights": found.weights,
            "different_weights": found.different_weights, "farthest_from_a_border": found.farthest, "scale_difference": found.scale,
        }),
    })
}

fn compare(device: Device, rows: i64) -> Differences {
    no_grad(|| {
        let mut found = Differences { rows, different_rows: 0, weights: 0, different_weights: 0, farthest: 0.0, scale: 0.0 };
        let mut left = rows;
        while left > 0 {
            let piece = left.min(PIECE);
            found.different_rows += different_rows(device, &activations(piece));
            left -= piece;
        }
        for deviation in [0.02, 0.1, 1.0, 1e-7] {
            compare_weights(device, &normal(&[rows / 4_000, 1_000], deviation), &mut found);
        }
        found
    })
}

/// Rows as they come in training: of every size, half of them rounded to bfloat16, where ties are frequent; one in a thousand is zero.
fn activations(rows: i64) -> Tensor {
    let index = Tensor::arange(rows, (Kind::Float, Device::Cpu)).unsqueeze(1);
    let size = (index.remainder(9.0) - 4.0).exp() * index.remainder(1000.0).ne(0.0).to_kind(Kind::Float);
    let values = normal(&[rows, WIDTH], 1.0) * size;
    let rounded = values.to_kind(Kind::BFloat16).to_kind(Kind::Float);
    values.where_self(&index.remainder(2.0).eq(0.0), &rounded)
}

fn different_rows(device: Device, rows: &Tensor) -> i64 {
    let quantized = |rows: &Tensor| quantize_activations(rows, ActivationQuantizer::Int8Absmax);
    let (wanted, found) = (quantized(rows), quantized(&sent(rows, device)).to_device(Device::Cpu));
    wanted.not_equal_tensor(&found).any_dim(1, false).sum(Kind::Int64).int64_value(&[])
}

fn compare_weights(device: Device, weight: &Tensor, found: &mut Differences) {
    let (wanted, scale) = weight_codes(weight, WeightQuantizer::TernaryAbsmean);
    let (codes, other_scale) = weight_codes(&sent(weight, device), WeightQuantizer::TernaryAbsmean);
    let differs = wanted.not_equal_tensor(&codes.to_device(Device::Cpu));
    let (scale, other_scale) = (scale.double_value(&[]), other_scale.double_value(&[]));
    // Codes change where the magnitude is half the scale.
    let distance = ((weight.abs() / scale - 0.5).abs() * differs.to_kind(Kind::Float)).max().double_value(&[]);
    found.weights += weight.numel() as i64;
    found.different_weights += differs.sum(Kind::Int64).int64_value(&[]);
    found.farthest = found.farthest.max(distance);
    found.scale = found.scale.max((other_scale - scale).abs() / scale);
}
