//! Activations times packed matrices, as one parallel section; the arithmetic belongs to `kernels`. Every result is equal to the bit to [`super::product::forward`].

use super::int8_rows::Int8Rows;
use super::kernels::{self, Kernel, Product};
use super::matrix::PackedMatrix;
use super::threads::Threads;
use crate::{Error, Result};

impl PackedMatrix {
    /// `out[token, row] = Σ codes * weights * scale / scale of the token`: `out` is `[tokens, rows]`.
    ///
    /// # Errors
    /// Activations or an `out` of another shape; a `BITNET_KERNEL` that this processor cannot run.
    pub fn multiply(&self, activations: &Int8Rows, out: &mut [f32], threads: &Threads) -> Result<()> {
        multiply_many(&[self], activations, &mut [out], threads)
    }
}

/// [`PackedMatrix::multiply`] of several matrices with the same activations, as one parallel section: `outs[i]` is that of `matrices[i]`.
///
/// # Errors
/// As [`PackedMatrix::multiply`], and other numbers of matrices and outs.
pub fn multiply_many(matrices: &[&PackedMatrix], activations: &Int8Rows, outs: &mut [&mut [f32]], threads: &Threads) -> Result<()> {
    multiply_with(Kernel::best()?, matrices, activations, outs, threads)
}

/// [`multiply_many`] with a kernel that may be another than the best.
///
/// # Errors
/// As [`multiply_many`], but for the variable.
pub fn multiply_with(
    kernel: Kernel,
    matrices: &[&PackedMatrix],
    activations: &Int8Rows,
    outs: &mut [&mut [f32]],
    threads: &Threads,
) -> Result<()> {
    if matrices.len() != outs.len() {
        return Err(Error::ours(format!("{} matrices have {} outs", matrices.len(), outs.len())));
    }
    let products = matrices.iter().zip(outs).map(|(matrix, out)| Product::new(matrix, activations, out));
    kernels::multiply(kernel, &products.collect::<Result<Vec<_>>>()?, threads);
    Ok(())
}
