//! A new weight of the decoder.

use crate::libtorch::random;
use tch::Tensor;
use tch::nn::{Init, Path};

/// The parameter `<path>.weight`, `[rows, columns]`, from N(0, `deviation`²): the same numbers on every device for the same
/// [`random::seed`] on this thread. All zero, and no number drawn, where `deviation` is: what is loaded over needs none.
pub(super) fn matrix(path: &Path, shape: [i64; 2], deviation: f64) -> Tensor {
    if deviation == 0.0 {
        return path.var("weight", &shape, Init::Const(0.0));
    }
    path.var_copy("weight", &random::normal(&shape, deviation))
}
