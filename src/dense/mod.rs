//! Products of float32 activations with matrices that are not ternary: heads, and keys and values of attention. Owns the vectors that a
//! processor has for them; threads and layers are `inference`'s.

mod attention;
mod int8;
mod level;
mod number;
mod rows;
mod simd;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use attention::{MOST_QUERIES, Memory, Query, attend};
pub use int8::{Int16Rows, int8_products};
pub use level::Level;
pub use number::{Bf16, Number, add_scaled, dot, f16_to_f32, sum_of_squares};
pub use rows::products;
