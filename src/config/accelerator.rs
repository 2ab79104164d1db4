//! GPUs by name: memory, peak and usual price, and what an experiment takes on one of them. Peaks are of dense matrix products with float32
//! sums, as the makers give them; nothing here was measured. What an experiment needs is the business of `estimate` and `memory`.

use super::keys::nearest;
use super::schema::quoted;
use super::{Estimate, Precision};
use crate::{Error, Result};
use serde::Serialize;

/// A GPU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Accelerator {
    /// As it is named on a command line.
    pub name: &'static str,
    /// In GiB, as its maker counts them.
    pub memory_gib: u64,
    /// Peak of bfloat16, in 10^12 operations a second.
    pub bfloat16_teraflops: f64,
    /// Peak of float32 outside the matrix units, which is libtorch's way.
    pub float32_teraflops: f64,
    /// What renting it usually costs.
    pub usd_per_hour: f64,
}

/// From the oldest to the newest of each kind.
pub const ACCELERATORS: [Accelerator; 9] = [
    // NVIDIA T4 datasheet: 16 GB, float32 8.1; it has no bfloat16, which is then computed in float32. Price: Google Cloud's list, the GPU alone.
    Accelerator { name: "t4", memory_gib: 16, bfloat16_teraflops: 8.1, float32_teraflops: 8.1, usd_per_hour: 0.35 },
    // NVIDIA GeForce RTX 3060: 12 GB, 3,584 cores at 1.78 GHz; bfloat16 at twice float32, as in the GA102 whitepaper. Price: offers on vast.ai.
    Accelerator { name: "rtx3060", memory_gib: 12, bfloat16_teraflops: 25.5, float32_teraflops: 12.7, usd_per_hour: 0.08 },
    // NVIDIA Ampere GA102 whitepaper: 24 GB, 71 and 35.6. Price from here on: RunPod's list of March 2026, the cheaper of its clouds.
    Accelerator { name: "rtx3090", memory_gib: 24, bfloat16_teraflops: 71.0, float32_teraflops: 35.6, usd_per_hour: 0.22 },
    // NVIDIA Ada whitepaper: 24 GB, 165.2 and 82.6.
    Accelerator { name: "rtx4090", memory_gib: 24, bfloat16_teraflops: 165.2, float32_teraflops: 82.6, usd_per_hour: 0.34 },
    // NVIDIA L4 datasheet: 24 GB, 242 with sparsity, so 121; float32 30.3.
    Accelerator { name: "l4", memory_gib: 24, bfloat16_teraflops: 121.0, float32_teraflops: 30.3, usd_per_hour: 0.44 },
    // NVIDIA L40S datasheet: 48 GB, 362 dense; float32 91.6.
    Accelerator { name: "l40s", memory_gib: 48, bfloat16_teraflops: 362.0, float32_teraflops: 91.6, usd_per_hour: 0.79 },
    // NVIDIA A100 80 GB SXM datasheet: 312 dense; float32 19.5.
    Accelerator { name: "a100", memory_gib: 80, bfloat16_teraflops: 312.0, float32_teraflops: 19.5, usd_per_hour: 1.39 },
    // NVIDIA H100 SXM datasheet: 80 GB, 1,979 with sparsity, so 989; float32 67.
    Accelerator { name: "h100", memory_gib: 80, bfloat16_teraflops: 989.0, float32_teraflops: 67.0, usd_per_hour: 2.69 },
    // NVIDIA H200 SXM datasheet: 141 GB, otherwise as the H100.
    Accelerator { name: "h200", memory_gib: 141, bfloat16_teraflops: 989.0, float32_teraflops: 67.0, usd_per_hour: 3.59 },
];

/// What an experiment takes on a GPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Budget {
    /// The GPU.
    pub accelerator: Accelerator,
    /// Share of the peak that was assumed.
    pub utilization: f64,
    /// Whether the estimated memory is there.
    pub fits: bool,
    /// Wall time of the whole run.
    pub seconds: f64,
    /// Of the whole run.
    pub tokens_per_second: f64,
    /// Price of that time.
    pub usd: f64,
}

impl Accelerator {
    /// The GPU called `name`.
    ///
    /// # Errors
    /// The user's: there is none in the table; the hint names the nearest.
    pub fn named(name: &str) -> Result<&'static Self> {
        let wanted = name.to_lowercase().replace(['-', ' ', '_'], "");
        let names = || ACCELERATORS.iter().map(|gpu| gpu.name);
        ACCELERATORS.iter().find(|gpu| gpu.name == wanted).ok_or_else(|| {
            let error = Error::input(format!("no GPU called {name:?} is known"));
            match nearest(&wanted, names()) {
                Some(near) => error.hint(format!("did you mean {near}? --gpu list shows all")),
                None => error.hint(format!("known are {}", quoted(names()))),
            }
        })
    }

    /// The GPU that its driver calls `name`, such as `NVIDIA A100-SXM4-80GB`; none where the table lacks it, and where only part of one is
    /// lent out.
    pub fn of_driver_name(name: &str) -> Option<&'static Self> {
        let words: Vec<String> = name.to_lowercase().split([' ', '-', '/']).map(str::to_owned).collect();
        let is_part = words.iter().any(|word| ["mig", "pcie", "nvl", "laptop", "ti", "super", "max"].contains(&&**word));
        let is_called = |called: &str| {
            let (series, number) = called.split_at(called.strip_prefix("rtx").map_or(0, |_| 3));
            words.iter().any(|word| word == number) && (series.is_empty() || words.iter().any(|word| word == series))
        };
        ACCELERATORS.iter().find(|gpu| !is_part && is_called(gpu.name))
    }

    /// Operations a second at best.
    pub fn peak_flops(&self, precision: Precision) -> f64 {
        let teraflops = match precision {
            Precision::Float32 => self.float32_teraflops,
            Precision::Bfloat16 => self.bfloat16_teraflops,
        };
        teraflops * 1e12
    }

    /// What `estimate` takes here at a share `utilization` of the peak, and costs at `usd_per_hour` or at the usual price.
    pub fn budget(&self, estimate: &Estimate, precision: Precision, utilization: f64, usd_per_hour: Option<f64>) -> Budget {
        let seconds = estimate.total_flops / (self.peak_flops(precision) * utilization);
        Budget {
            accelerator: *self,
            utilization,
            fits: estimate.memory_bytes <= self.memory_gib << 30,
            seconds,
            tokens_per_second: estimate.total_tokens as f64 / seconds,
            usd: seconds / 3600.0 * usd_per_hour.unwrap_or(self.usd_per_hour),
        }
    }
}

#[cfg(test)]
#[path = "accelerator_tests.rs"]
mod tests;
