//! The forward pass of a BitLinear in whole numbers: the sums are exact, so every faster way of computing them must give the same.
//! Kernels compare themselves with this; it is not fast.

use super::activations::Int8Row;
use super::weights::TernaryMatrix;
use crate::{Error, Result};

/// The longest input whose sums of 8-bit times ternary codes fit 32 bits whatever the codes are: (2^31 - 1) / 128.
pub const MAX_INPUT_SIZE: usize = i32::MAX as usize / 128;

/// `sums[i, j] = Σ_k activations[i, k] * weights[j, k]`, exact. `activations` are codes `[tokens, input_size]`, `weights` are ternary codes
/// `[outputs, input_size]`; the sums are `[tokens, outputs]`.
///
/// # Errors
/// An input size of 0 or above [`MAX_INPUT_SIZE`], lengths that are no multiples of it, or a weight other than -1, 0, +1.
pub fn integer_product(activations: &[i8], weights: &[i8], input_size: usize) -> Result<Vec<i32>> {
    require_shapes(activations.len(), weights.len(), input_size)?;
    if let Some(index) = weights.iter().position(|code| !(-1..=1).contains(code)) {
        return Err(Error::input(format!("weight code {index} is {}: only -1, 0 and 1 are ternary", weights[index])));
    }
    let tokens = activations.chunks_exact(input_size);
    Ok(tokens.flat_map(|token| weights.chunks_exact(input_size).map(|row| integer_dot(token, row))).collect())
}

/// `y[i, j] = sum[i, j] * s_w / s_x[i]` in float32, left to right, from the exact sums: `[tokens, outputs]`, empty without a token.
/// `activations` are the tokens' rows; `weights` is `[outputs, input_size]`, with `input_size` the length of every row.
///
/// # Errors
/// Rows of different lengths, and what [`integer_product`] refuses.
pub fn forward(activations: &[Int8Row], weights: &TernaryMatrix) -> Result<Vec<f32>> {
    let Some(input_size) = activations.first().map(|row| row.codes.len()) else {
        return Ok(Vec::new());
    };
    if let Some(token) = activations.iter().position(|row| row.codes.len() != input_size) {
        return Err(Error::input(format!("token {token} has {} codes, token 0 has {input_size}", activations[token].codes.len())));
    }
    let codes: Vec<i8> = activations.iter().flat_map(|row| row.codes.iter().copied()).collect();
    let sums = integer_product(&codes, &weights.codes, input_size)?;
    let num_outputs = weights.codes.len() / input_size;
    let dequantize = |(index, &sum): (usize, &i32)| sum as f32 * weights.scale / activations[index / num_outputs].scale;
    Ok(sums.iter().enumerate().map(dequantize).collect())
}

fn integer_dot(activations: &[i8], weights: &[i8]) -> i32 {
    activations.iter().zip(weights).map(|(&activation, &weight)| i32::from(activation) * i32::from(weight)).sum()
}

fn require_shapes(num_activations: usize, num_weights: usize, input_size: usize) -> Result<()> {
    if input_size == 0 || input_size > MAX_INPUT_SIZE {
        return Err(Error::input(format!("an input size of {input_size} is not in 1 to {MAX_INPUT_SIZE}, where sums fit 32 bits")));
    }
    for (what, length) in [("activation", num_activations), ("weight", num_weights)] {
        if length % input_size != 0 {
            return Err(Error::input(format!("{length} {what} codes are no whole rows of {input_size}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_by_hand() {
        // [[1, -2, 3], [127, 0, -128]] times the transpose of [[1, 1, 0], [-1, 0, -1]].
        let sums = integer_product(&[1, -2, 3, 127, 0, -128], &[1, 1, 0, -1, 0, -1], 3).unwrap();
        assert_eq!(sums, [-1, -4, 127, 1]);
        let rows = [Int8Row { codes: vec![1, -2, 3], scale: 2.0 }, Int8Row { codes: vec![127, 0, -128], scale: 4.0 }];
        let weights = TernaryMatrix { codes: vec![1, 1, 0, -1, 0, -1], scale: 0.5 };
        assert_eq!(forward(&rows, &weights).unwrap(), [-0.25, -1.0, 15.875, 0.125]);
    }

    #[test]
    fn the_longest_input_reaches_the_largest_sum_without_overflow() {
        let sums = integer_product(&vec![-128; MAX_INPUT_SIZE], &vec![-1; MAX_INPUT_SIZE], MAX_INPUT_SIZE).unwrap();
        assert_eq!(sums, [128 * MAX_INPUT_SIZE as i32]);
        let longer = MAX_INPUT_SIZE + 1;
        assert!(integer_product(&vec![0; longer], &vec![0; longer], longer).is_err());
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        assert!(integer_product(&[1, 2, 3], &[1, 0], 2).unwrap_err().to_string().contains("3 activation codes"));
        assert!(integer_product(&[1, 2], &[1, 0, 1], 2).unwrap_err().to_string().contains("3 weight codes"));
        assert!(integer_product(&[], &[], 0).is_err());
        assert!(integer_product(&[1, 2], &[1, 2], 2).unwrap_err().to_string().contains("weight code 1 is 2"));
        let rows = [Int8Row { codes: vec![1, 2], scale: 1.0 }, Int8Row { codes: vec![1], scale: 1.0 }];
        assert!(forward(&rows, &TernaryMatrix { codes: vec![0, 1], scale: 1.0 }).unwrap_err().to_string().contains("token 1 has 1"));
        assert_eq!(forward(&[], &TernaryMatrix { codes: vec![0, 1], scale: 1.0 }).unwrap(), Vec::<f32>::new());
    }
}
