//! The arithmetic of packed matrices, one file per instruction set: `portable` for every processor, `avx2`, `avx512` and `amx` for x86-64,
//! `neon` for 64-bit ARM. Owns which of them runs, and the sharing of row groups among threads. Unsafe is allowed here, since vector
//! instructions and outputs that threads write side by side need it.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod panel;
mod portable;
mod product;
#[cfg(test)]
mod tests;

use super::int8_rows::Line;
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
    Avx2,
    Avx512,
    Amx,
    Neon,
}

impl Instructions {
    /// From the plainest to the best of each processor.
    const ALL: [Self; 5] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Amx, Self::Neon];

    fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
            Self::Neon => "neon",
        }
    }

    fn is_usable(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::is_usable(),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => amx::is_usable(),
            _ => false,
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

    /// Quantizes `row` into every `step`th of `lines` from the first on; gives the scale and the sum of the codes. The scale of a row with
    /// a number that is not finite is NaN.
    pub(super) fn quantize_row(self, row: &[f32], lines: &mut [Line], step: usize) -> (f32, i32) {
        // SAFETY: a kernel is one that the processor can run.
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 | Instructions::Amx => unsafe { avx512::quantize_row(row, lines, step) },
            _ => portable::quantize_row(row, lines, step),
        }
    }

    /// Writes the results of a share.
    fn multiply(self, share: Share) {
        // SAFETY: a kernel is one that the processor can run.
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { avx512::multiply(share) },
            #[cfg(target_arch = "x86_64")]
            Instructions::Amx => unsafe { amx::multiply(share) },
            _ => portable::multiply(share),
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
    let chunks = Chunks::new(num_groups, groups_at_a_time(num_groups, threads.num_threads()));
    threads.drain(|| {
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

/// Row groups that a thread takes at a time: few enough for threads to end together when something else disturbs one of them, and for
/// prompts a whole number of panels.
fn groups_at_a_time(num_groups: usize, num_threads: usize) -> usize {
    const MOST: usize = 8;
    const TURNS: usize = 4;
    match num_threads {
        1 => num_groups,
        _ => (num_groups / (TURNS * num_threads)).next_multiple_of(2).clamp(2, MOST),
    }
}
