//! Which vectors a processor has, and work that is compiled once for each of them. Unsafe, since only some processors have them all.

use super::simd::{Portable, Simd};
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};
use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// The environment variable that asks for other vectors than the best.
const VARIABLE: &str = "BITNET_DENSE";

/// Vectors that dense products are computed with. Whoever has a level runs on a processor that has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// What is computed with vectors. `run` and all that it calls has to be `inline(always)`, or it is not compiled for the vectors.
pub(super) trait Work {
    /// What comes out.
    type Output;

    /// Computes with what `simd` stands for.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

impl Level {
    /// The best of this processor, or what `BITNET_DENSE` names. A name that [`Self::asked`] refuses has no say.
    pub fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        let best = || Self::usable().last().unwrap_or(Self(Kind::Portable));
        *BEST.get_or_init(|| Self::asked().ok().flatten().unwrap_or_else(best))
    }

    /// What `BITNET_DENSE` names, if anything.
    ///
    /// # Errors
    /// It names no vectors, or those of another processor.
    pub fn asked() -> Result<Option<Self>> {
        let asked = std::env::var(VARIABLE).ok().map(|name| name.parse());
        asked.transpose().map_err(|error: Error| error.context(VARIABLE))
    }

    /// Those of this processor, from the plainest to the best.
    pub fn usable() -> impl Iterator<Item = Self> {
        [
            Some(Kind::Portable),
            #[cfg(target_arch = "x86_64")]
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Kind::Avx2),
            #[cfg(target_arch = "x86_64")]
            has_avx512().then_some(Kind::Avx512),
        ]
        .into_iter()
        .flatten()
        .map(Self)
    }

    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        match self.0 {
            Kind::Portable => work.run(Portable),
            // SAFETY: a level is made where the processor has its instructions.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { with_avx2(work) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { with_avx512(work) },
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        })
    }
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let usable: Vec<String> = Self::usable().map(|level| level.to_string()).collect();
        let level = Self::usable().find(|level| level.to_string() == name);
        level.ok_or_else(|| Error::input(format!("this processor has no vectors '{name}', only {}", usable.join(", "))))
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<W: Work>(work: W) -> W::Output {
    // SAFETY: only a processor that has the instructions comes here.
    work.run(unsafe { Avx2::new() })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn with_avx512<W: Work>(work: W) -> W::Output {
    // SAFETY: only a processor that has the instructions comes here.
    work.run(unsafe { Avx512::new() })
}
