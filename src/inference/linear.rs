//! A BitLinear layer: its norm if that is inside, the quantizer of its input, and the product with packed codes. Models whose weights or
//! activations are not quantized have a plain float32 product: slow, and there to compare with.

use super::norm::RmsNorm;
use super::parallel::for_each_piece;
use super::weights::Weights;
use crate::config::{ActivationQuantizer, ModelConfig, NormPlacement, ProjectionShape, WeightQuantizer};
use crate::dense::{Level, products};
use crate::ternary::int8_rows::Int8Rows;
use crate::ternary::kernels::Kernel;
use crate::ternary::large_pages::vec_on_large_pages;
use crate::ternary::matrix::PackedMatrix;
use crate::ternary::multiply::multiply_many;
use crate::ternary::threads::Threads;
use crate::{Error, Result};

/// The least magnitude that a row is scaled by, as the reference quantizer has it.
const LEAST_MAGNITUDE: f32 = 1e-5;
/// What it means when features are not finite.
const DAMAGED_WEIGHTS: &str = "the model's weights are damaged: `inspect` says where";
/// Rows of a plain matrix that a thread takes at a time.
const PLAIN_ROWS: usize = 16;

/// `y = quantize(norm(x)) · quantize(W)ᵀ`, the norm only where it is inside.
#[derive(Debug)]
pub(super) struct BitLinear {
    matrix: Matrix,
    norm: Option<RmsNorm>,
    activations: ActivationQuantizer,
    inputs: usize,
}

/// Weights `[outputs, inputs]`. All projections of a model are of one kind.
#[derive(Debug)]
enum Matrix {
    Packed(PackedMatrix),
    Plain(Vec<f32>),
}

/// The input of a product, normed and quantized; its memory is used again and again.
#[derive(Debug)]
pub(super) struct Inputs {
    floats: Vec<f32>, // [rows, features]
    rows: Int8Rows,
    codes: Vec<i8>, // of 4 bits, before they are rows
    scales: Vec<f32>,
}

impl Inputs {
    /// Room for `rows` rows of at most `widest` features.
    pub fn new(rows: usize, widest: usize) -> Self {
        Self { floats: vec_on_large_pages(rows * widest), rows: Int8Rows::new(), codes: Vec::new(), scales: Vec::new() }
    }
}

impl BitLinear {
    /// Projections of the block `prefix` by the last parts of their names.
    pub fn load_all<const COUNT: usize>(
        weights: &Weights<'_>,
        prefix: &str,
        names: [&str; COUNT],
        model: &ModelConfig,
    ) -> Result<[Self; COUNT]> {
        let load = |name: &str| Self::load(weights, prefix, Self::shape_of(name, model)?, model);
        let layers = names.into_iter().map(load).collect::<Result<Vec<_>>>()?;
        layers.try_into().map_err(|_| Error::ours("a projection was lost"))
    }

    /// The projection of a block whose name ends in `name`.
    pub fn shape_of(name: &str, model: &ModelConfig) -> Result<ProjectionShape> {
        let is_named = |shape: &ProjectionShape| shape.name.rsplit('.').next() == Some(name);
        model.projections().into_iter().find(is_named).ok_or_else(|| Error::ours(format!("no block has a projection {name}")))
    }

    /// The projection `<prefix>.<shape.name>`, and its norm if the model has it inside.
    fn load(weights: &Weights<'_>, prefix: &str, shape: ProjectionShape, model: &ModelConfig) -> Result<Self> {
        let name = format!("{prefix}.{}", shape.name);
        let is_inside = model.bit_linear.norm == NormPlacement::Inside;
        let norm = weights.norm_where(is_inside, &format!("{name}.norm"), model.rms_norm_eps)?;
        let matrix = match has_codes(model) {
            true => Matrix::Packed(weights.packed_matrix(&format!("{name}.weight"), shape.outputs, shape.inputs)?),
            false => Matrix::Plain(weights.projection(&name, shape.outputs, shape.inputs)?.into()),
        };
        Ok(Self { matrix, norm, activations: model.bit_linear.activations, inputs: shape.inputs })
    }

    /// Several layers on the same `rows` `[count, inputs]`, behind `norm` if there is one; each output is `[count, outputs]`. What can be
    /// shared, the norm outside and the quantizer, is computed once.
    ///
    /// # Errors
    /// The user's: features that are not finite, so that the model's weights are not of a working model.
    pub fn products<const COUNT: usize>(
        layers: [(&Self, &mut [f32]); COUNT],
        norm: Option<&RmsNorm>,
        rows: &[f32],
        inputs: &mut Inputs,
        threads: &Threads,
    ) -> Result<()> {
        let first = layers[0].0;
        if COUNT > 1 && first.norm.is_some() {
            return layers.into_iter().try_for_each(|layer| Self::products([layer], norm, rows, inputs, threads));
        }
        first.prepare([norm, first.norm.as_ref()], rows, inputs, threads)?;
        let packed = layers.each_ref().map(|(layer, _)| layer.packed());
        let Some(one) = packed[0] else {
            let plain = |(layer, output): (&Self, &mut [f32])| layer.plain_product(&inputs.floats, output, threads);
            layers.into_iter().for_each(plain);
            return Ok(());
        };
        let mut outputs = layers.map(|(_, output)| output);
        multiply_many(&packed.map(|matrix| matrix.unwrap_or(one)), &inputs.rows, &mut outputs, threads)
    }

    /// Norms `rows` and quantizes them: to codes for a packed matrix, else to the values of codes.
    fn prepare(&self, norms: [Option<&RmsNorm>; 2], rows: &[f32], inputs: &mut Inputs, threads: &Threads) -> Result<()> {
        let Inputs { floats, rows: int8_rows, codes, scales } = inputs;
        let width = self.inputs;
        let normed = |index: usize, row: &mut [f32]| {
            row.copy_from_slice(&rows[index * width..][..row.len()]);
            norms.iter().flatten().for_each(|norm| norm.apply(row));
        };
        let has_codes = self.packed().is_some();
        if has_codes && self.activations != ActivationQuantizer::Int4Absmean {
            let quantized = int8_rows.quantize_rows(Kernel::best()?, rows.len() / width, width, Some(threads), normed);
            return quantized.map_err(|error| error.hint(DAMAGED_WEIGHTS));
        }
        floats.resize(rows.len(), 0.0);
        for_each_piece(threads, floats, width, 4 * width, |index, row| {
            normed(index, row);
            if !has_codes {
                quantize_in_place(row, self.activations);
            }
        });
        if !has_codes {
            return Ok(());
        }
        codes.clear();
        scales.clear();
        floats.chunks_exact(width).for_each(|row| scales.push(int4_codes(row, codes)));
        int8_rows.set_codes(codes, width, scales)
    }

    fn packed(&self) -> Option<&PackedMatrix> {
        match &self.matrix {
            Matrix::Packed(matrix) => Some(matrix),
            Matrix::Plain(_) => None,
        }
    }

    /// `output[i, j] = Σ_k rows[i, k] · weights[j, k]` of a plain matrix.
    fn plain_product(&self, rows: &[f32], output: &mut [f32], threads: &Threads) {
        let (Matrix::Plain(weights), inputs) = (&self.matrix, self.inputs) else { return };
        let outputs = weights.len() / inputs;
        for (row, output) in rows.chunks_exact(inputs).zip(output.chunks_exact_mut(outputs)) {
            for_each_piece(threads, output, PLAIN_ROWS, PLAIN_ROWS * inputs, |piece, output| {
                products(Level::best(), &weights[piece * PLAIN_ROWS * inputs..], row, inputs, output);
            });
        }
    }
}

/// Whether products are of codes with codes.
fn has_codes(model: &ModelConfig) -> bool {
    let quantizers = model.bit_linear;
    quantizers.weights != WeightQuantizer::None && quantizers.activations != ActivationQuantizer::None
}

/// The values that the codes of `row` stand for.
pub(super) fn quantize_in_place(row: &mut [f32], quantizer: ActivationQuantizer) {
    match quantizer {
        ActivationQuantizer::None => {}
        ActivationQuantizer::Int8Absmax => {
            let scale = 127.0 / row.iter().fold(LEAST_MAGNITUDE, |largest, number| largest.max(number.abs()));
            row.iter_mut().for_each(|number| *number = (*number * scale).round_ties_even().clamp(-128.0, 127.0) / scale);
        }
        ActivationQuantizer::Int4Absmean => {
            let mean = mean_magnitude(row);
            if mean != 0.0 {
                row.iter_mut().for_each(|number| *number = int4_code(*number, mean) * mean / 7f32.sqrt());
            }
        }
    }
}

/// Appends the codes of `row` in 4 bits, BitNet a4.8; returns codes per unit of the input.
fn int4_codes(row: &[f32], codes: &mut Vec<i8>) -> f32 {
    let mean = mean_magnitude(row);
    codes.extend(row.iter().map(|&number| if mean == 0.0 { 0 } else { int4_code(number, mean) as i8 }));
    if mean == 0.0 { 1.0 } else { 7f32.sqrt() / mean }
}

fn int4_code(number: f32, mean: f32) -> f32 {
    (7f32.sqrt() * number / mean).round_ties_even().clamp(-8.0, 7.0)
}

fn mean_magnitude(row: &[f32]) -> f32 {
    (row.iter().map(|number| f64::from(number.abs())).sum::<f64>() / row.len() as f64) as f32
}
