//! The arithmetic of packed matrices, one file per instruction set: `portable` for every processor, `avx2`, `avx_vnni`, `avx512` and `amx`
//! for x86-64, `neon` for 64-bit ARM. Owns which of them runs, and the sharing of row groups among threads. Unsafe is allowed here, since
//! vector instructions and outputs that threads write side by side need it.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
mod implementation;
#[cfg(target_arch = "aarch64")]
mod neon;
mod panel;
mod portable;
mod product;
#[cfg(test)]
mod tests;

use super::int8_rows::Line;
use super::threads::{Chunks, Threads};
use crate::{Error, Result};
use implementation::Implementation;
use product::Share;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

pub(super) use product::Product;

/// The environment variable that asks for another kernel than the best.
const VARIABLE: &str = "BITNET_KERNEL";

/// The instruction sets that this program has, from the plainest to the best.
#[cfg(target_arch = "x86_64")]
static ALL: [Implementation; 5] =
    [portable::IMPLEMENTATION, avx2::IMPLEMENTATION, avx_vnni::IMPLEMENTATION, avx512::IMPLEMENTATION, amx::IMPLEMENTATION];
#[cfg(target_arch = "aarch64")]
static ALL: [Implementation; 2] = [portable::IMPLEMENTATION, neon::IMPLEMENTATION];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static ALL: [Implementation; 1] = [portable::IMPLEMENTATION];

/// Instructions that products are computed with. A value of this type is proof that the processor has them.
#[derive(Clone, Copy)]
pub struct Kernel(&'static Implementation);

impl Kernel {
    /// The best that this processor has, or what `BITNET_KERNEL` names.
    ///
    /// # Errors
    /// The variable names no kernel, or one that this processor cannot run.
    pub fn best() -> Result<Self> {
        static CHOSEN: OnceLock<std::result::Result<Kernel, String>> = OnceLock::new();
        let choose = || match std::env::var(VARIABLE) {
            Ok(name) => name.parse().map_err(|error: Error| error.to_string()),
            Err(_) => Ok(Self::usable().last().unwrap_or(Self(&ALL[0]))),
        };
        CHOSEN.get_or_init(choose).clone().map_err(|error| Error::input(error).context(VARIABLE))
    }

    /// What this processor can run, from the plainest to the best.
    pub fn usable() -> impl Iterator<Item = Self> {
        ALL.iter().filter(|implementation| (implementation.is_usable)()).map(Self)
    }

    /// See [`Implementation::quantize_row`].
    pub(super) fn quantize_row(self, row: &[f32], lines: &mut [Line], step: usize) -> (f32, i32) {
        // SAFETY: a kernel is one that the processor can run.
        unsafe { (self.0.quantize_row)(row, lines, step) }
    }

    /// See [`Implementation::multiply`].
    fn multiply(self, share: Share) {
        // SAFETY: a kernel is one that the processor can run.
        unsafe { (self.0.multiply)(share) }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.name)
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Kernel({self})")
    }
}

impl FromStr for Kernel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let usable: Vec<&str> = Self::usable().map(|kernel| kernel.0.name).collect();
        let kernel = Self::usable().find(|kernel| kernel.0.name == name);
        kernel.ok_or_else(|| Error::input(format!("this processor has no kernel '{name}', only {}", usable.join(", "))))
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
