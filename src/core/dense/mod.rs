//! Float32 activations: their products with matrices that are not ternary, heads, and keys and values of attention; norms and gates. Owns the
//! vectors that a processor has for them; threads and layers are `inference`'s.

mod attention;
mod elementwise;
mod int8;
mod level;
mod narrow;
mod number;
mod rows;
mod simd;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use attention::{MOST_QUERIES, Memory, Query};
pub use elementwise::{rms_norm, silu_gate, squared_relu_gate};
pub use int8::{Int16Rows, int8_products};
pub use level::Level;
pub use narrow::{Bf16, f16_to_f32};
pub use number::{Number, add_scaled, attend, dot, products};
