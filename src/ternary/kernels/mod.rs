//! The arithmetic of packed matrices, one file per instruction set: `portable` for every processor, `avx2`, `avx512` and `amx` for x86-64,
//! `neon` for 64-bit ARM. Owns which of them runs, and the sharing of row groups among threads. Unsafe is allowed here, since vector
//! instructions and outputs that threads write side by side need it.

mod portable;
mod product;
#[cfg(test)]
mod tests;

use super::threads::{Chunks, Threads};
use crate::{Error, Result};
use product::Share;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

pub(super) use product::Product;

/// The environment variable that asks for another kernel than the best.
const VARIABLE: &str = "BITNET_KERNEL";

/// Instructions that products are computed with. Whoever has one runs on a processor that has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Instructions);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    Portable,
}

impl Instructions {
    /// From the plainest to the best.
    const ALL: [Self; 1] = [Self::Portable];

    fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
        }
    }

    fn is_usable(self) -> bool {
        match self {
            Self::Portable => true,
        }
    }
}

impl Kernel {
    /// The best that this processor has, or what `BITNET_KERNEL` names.
    ///
    /// # Errors
    /// The variable names no kernel, or one that this processor cannot run.
    pub fn best() -> Result<Self> {
        static CHOSEN: OnceLock<std::result::Result<Kernel, String>> = OnceLock::new();
        let choose = || match std::env::var(VARIABLE) {
            Ok(name) => name.parse().map_err(|error: Error| error.to_string()),
            Err(_) => Ok(Self::usable().last().unwrap_or(Self(Instructions::Portable))),
        };
        CHOSEN.get_or_init(choose).clone().map_err(|error| Error::input(error).context(VARIABLE))
    }

    /// What this processor can run, from the plainest to the best.
    pub fn usable() -> impl Iterator<Item = Self> {
        Instructions::ALL.into_iter().filter(|instructions| instructions.is_usable()).map(Self)
    }

    /// Quantizes `row` into as many `codes`; gives the scale and the sum of the codes. The scale of a row with a number that is not
    /// finite is NaN.
    pub(super) fn quantize_row(self, row: &[f32], codes: &mut [i8]) -> (f32, i32) {
        match self.0 {
            Instructions::Portable => portable::quantize_row(row, codes),
        }
    }

    /// Writes the results of a share.
    fn multiply(self, share: Share) {
        match self.0 {
            Instructions::Portable => portable::multiply(share),
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.name())
    }
}

impl FromStr for Kernel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let names = |kernels: &[Instructions]| kernels.iter().map(|kernel| kernel.name()).collect::<Vec<_>>().join(", ");
        let Some(instructions) = Instructions::ALL.into_iter().find(|kernel| kernel.name() == name) else {
            return Err(Error::input(format!("'{name}' is none of the kernels {}", names(&Instructions::ALL))));
        };
        if !instructions.is_usable() {
            let usable: Vec<Instructions> = Self::usable().map(|kernel| kernel.0).collect();
            return Err(Error::input(format!("this processor cannot run the kernel {name}, only {}", names(&usable))));
        }
        Ok(Self(instructions))
    }
}

/// Computes all of the products, their row groups shared among threads.
pub(super) fn multiply(kernel: Kernel, products: &[Product], threads: &Threads) {
    let num_groups = products.iter().map(Product::num_groups).sum();
    let chunks = Chunks::new(num_groups, num_groups.div_ceil(threads.num_threads()));
    threads.run(|_, _| {
        while let Some(chunk) = chunks.take() {
            // The products lie one after another.
            let mut start = 0;
            for product in products {
                let end = start + product.num_groups();
                let (from, to) = (chunk.start.clamp(start, end), chunk.end.clamp(start, end));
                // SAFETY: chunks are disjoint, and each lives on the thread that took it.
                kernel.multiply(unsafe { product.share(from - start..to - start) });
                start = end;
            }
        }
    });
}
