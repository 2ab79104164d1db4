//! A BitLinear layer: its norm if that is inside, the quantizer of its input, and the product with packed codes. Models whose weights or
//! activations are not quantized have a plain float32 product: slow, and there to compare with.

use super::norm::RmsNorm;
use super::parallel::for_each_piece;
use crate::config::{ActivationQuantizer, BitLinearConfig, ModelConfig, ProjectionShape, WeightQuantizer};
use crate::dense::{Level, products};
use crate::inference::stored::Weights;
use crate::ternary::activations::{append_int4_absmean, int4_absmean_in_place, int8_absmax_in_place};
use crate::ternary::int8_rows::Int8Rows;
use crate::ternary::kernels::Kernel;
use crate::ternary::large_pages::vec_on_large_pages;
use crate::ternary::matrix::PackedMatrix;
use crate::ternary::multiply::multiply_many;
use crate::ternary::threads::Threads;
use crate::{Error, Result};

/// What it means when features are not finite.
const DAMAGED_WEIGHTS: &str = "the model's weights are damaged: `inspect` says where";
/// Rows of a plain matrix that a thread takes at a time.
const PLAIN_ROWS: usize = 16;

/// `y = quantize(norm(x)) · quantize(W)ᵀ`, the norm only where it is inside.
#[derive(Debug)]
pub(super) struct BitLinear {
    matrix: Matrix,
    norm: Option<RmsNorm>,
    inputs: usize,
}

/// Weights `[outputs, inputs]`, and what is made of activations before they meet them. All projections of a model are of one kind.
#[derive(Debug)]
enum Matrix {
    /// Ternary codes, multiplied with codes.
    Packed(PackedMatrix, CodeBits),
    /// Floats, multiplied with floats: the values of codes, if the quantizer makes any.
    Plain(Vec<f32>, ActivationQuantizer),
}

/// Bits of the codes of activations.
#[derive(Debug, Clone, Copy)]
enum CodeBits {
    Four,
    Eight,
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
        let is_inside = model.bit_linear.norm.is_inside();
        let norm = RmsNorm::load_where(is_inside, weights, &format!("{name}.norm"), model.rms_norm_eps)?;
        let matrix = Matrix::load(weights, &format!("{name}.weight"), shape.outputs, shape.inputs, model.bit_linear)?;
        Ok(Self { matrix, norm, inputs: shape.inputs })
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
        let make = |index: usize, row: &mut [f32]| {
            row.copy_from_slice(&rows[index * width..][..row.len()]);
            apply_before_quantizer(norms.into_iter().flatten(), row);
        };
        let mut make_floats = |quantize: &(dyn Fn(&mut [f32]) + Sync)| {
            floats.resize(rows.len(), 0.0);
            for_each_piece(threads, floats, width, 4 * width, |index, row| {
                make(index, row);
                quantize(row);
            });
        };
        match &self.matrix {
            Matrix::Packed(_, CodeBits::Eight) => {
                let quantized = int8_rows.quantize_rows(Kernel::best()?, rows.len() / width, width, Some(threads), make);
                quantized.map_err(|error| error.hint(DAMAGED_WEIGHTS))
            }
            Matrix::Packed(_, CodeBits::Four) => {
                make_floats(&|_| {});
                codes.clear();
                scales.clear();
                floats.chunks_exact(width).for_each(|row| scales.push(append_int4_absmean(row, codes)));
                int8_rows.set_codes(codes, width, scales)
            }
            Matrix::Plain(_, quantizer) => {
                make_floats(&|row| quantize_in_place(row, *quantizer));
                Ok(())
            }
        }
    }

    fn packed(&self) -> Option<&PackedMatrix> {
        match &self.matrix {
            Matrix::Packed(matrix, _) => Some(matrix),
            Matrix::Plain(..) => None,
        }
    }

    /// `output[i, j] = Σ_k rows[i, k] · weights[j, k]` of a plain matrix.
    fn plain_product(&self, rows: &[f32], output: &mut [f32], threads: &Threads) {
        let (Matrix::Plain(weights, _), inputs) = (&self.matrix, self.inputs) else { return };
        let outputs = weights.len() / inputs;
        for (row, output) in rows.chunks_exact(inputs).zip(output.chunks_exact_mut(outputs)) {
            for_each_piece(threads, output, PLAIN_ROWS, PLAIN_ROWS * inputs, |piece, output| {
                products(Level::best(), &weights[piece * PLAIN_ROWS * inputs..], row, inputs, output);
            });
        }
    }
}

impl Matrix {
    /// The projection `name`, packed where products are of codes with codes.
    fn load(weights: &Weights<'_>, name: &str, outputs: usize, inputs: usize, quantizers: BitLinearConfig) -> Result<Self> {
        let packed = |bits| Ok(Self::Packed(weights.packed_matrix(name, outputs, inputs)?, bits));
        match (quantizers.weights, quantizers.activations) {
            (WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign, ActivationQuantizer::Int8Absmax) => packed(CodeBits::Eight),
            (WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign, ActivationQuantizer::Int4Absmean) => packed(CodeBits::Four),
            (WeightQuantizer::TernaryAbsmean | WeightQuantizer::Sign, ActivationQuantizer::None)
            | (WeightQuantizer::None, ActivationQuantizer::Int8Absmax | ActivationQuantizer::Int4Absmean | ActivationQuantizer::None) => {
                let plain = weights.projection(name, outputs, inputs)?.weights()?;
                Ok(Self::Plain(plain.into(), quantizers.activations))
            }
        }
    }
}

/// What the quantizer of activations is given: `row` behind `norms`. Every row of every projection passes here, so a transform of rows that
/// comes before their quantizer, such as a rotation, has its place at the end of this function.
pub(super) fn apply_before_quantizer<'n>(norms: impl IntoIterator<Item = &'n RmsNorm>, row: &mut [f32]) {
    norms.into_iter().for_each(|norm| norm.apply(row));
}

/// Replaces `row` by the values that its codes stand for.
pub(super) fn quantize_in_place(row: &mut [f32], quantizer: ActivationQuantizer) {
    match quantizer {
        ActivationQuantizer::None => {}
        ActivationQuantizer::Int8Absmax => int8_absmax_in_place(row),
        ActivationQuantizer::Int4Absmean => int4_absmean_in_place(row),
    }
}
