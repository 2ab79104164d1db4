//! What a device can do at best, for the share of it that training uses: from the table of GPUs, or measured.

use crate::Result;
use crate::config::{Accelerator, Precision};
use crate::libtorch::{caught, cuda_name};
use crate::run::Peak;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tch::{Cuda, Device, Kind, Tensor, no_grad};

/// A measurement goes on for so long, and over two products at least.
const MEASURED_FOR: Duration = Duration::from_millis(60);

/// What was measured in this process.
static MEASURED: Mutex<Vec<(Device, Precision, Peak)>> = Mutex::new(Vec::new());

/// The peak of `device` in `precision`: as its maker gives it for a GPU that the table has, else the fastest of a few square matrix products.
/// The CPU and what else can compute bfloat16 in float32 is measured in both. The integer products of ternary layers may exceed it.
///
/// # Errors
/// Ours: a product failed.
pub fn peak_of(device: Device, precision: Precision) -> Result<Peak> {
    if let Some(peak) = peak_by_name(device, precision) {
        return Ok(peak);
    }
    let mut measured = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, _, peak)) = measured.iter().find(|(of, in_precision, _)| (*of, *in_precision) == (device, precision)) {
        return Ok(peak.clone());
    }
    let peak = caught(|| Ok(measured_peak(device, precision)))?;
    measured.push((device, precision, peak.clone()));
    Ok(peak)
}

fn peak_by_name(device: Device, precision: Precision) -> Option<Peak> {
    let Device::Cuda(index) = device else { return None };
    let name = cuda_name(index)?;
    let gpu = Accelerator::of_driver_name(&name)?;
    Some(Peak { flops_per_second: gpu.peak_flops(precision), source: format!("the maker's figure for {name} in {}", word(precision)) })
}

fn measured_peak(device: Device, precision: Precision) -> Peak {
    let precisions = match precision {
        Precision::Float32 => vec![Precision::Float32],
        Precision::Bfloat16 => vec![Precision::Float32, Precision::Bfloat16],
    };
    let mut best = Peak { flops_per_second: 0.0, source: String::new() };
    for precision in precisions {
        let (flops_per_second, size) = fastest_product(device, precision);
        if flops_per_second > best.flops_per_second {
            best = Peak { flops_per_second, source: format!("measured: products of {} matrices of {size} x {size}", word(precision)) };
        }
    }
    best
}

/// Operations a second of the fastest of several products, and the size of the matrices.
fn fastest_product(device: Device, precision: Precision) -> (f64, i64) {
    let kind = match precision {
        Precision::Float32 => Kind::Float,
        Precision::Bfloat16 => Kind::BFloat16,
    };
    let size = if device == Device::Cpu { 1024 } else { 8192 };
    // What a processor without the instructions for it takes long to compute is told from a small product.
    let (small, matrix) = (Tensor::ones([256, 256], (kind, device)), Tensor::ones([size, size], (kind, device)));
    let fastest_small = (0..3).map(|_| product_seconds(&small)).fold(f64::INFINITY, f64::min);
    let expected = fastest_small * (size as f64 / 256.0).powi(3);
    let (matrix, size) = if device == Device::Cpu && expected > 0.1 { (small, 256) } else { (matrix, size) };
    let (begin, mut best, mut count) = (Instant::now(), f64::INFINITY, 0);
    while count < 2 || begin.elapsed() < MEASURED_FOR {
        best = best.min(product_seconds(&matrix));
        count += 1;
    }
    (2.0 * (size as f64).powi(3) / best, size)
}

fn product_seconds(matrix: &Tensor) -> f64 {
    let begin = Instant::now();
    let product = no_grad(|| matrix.matmul(matrix));
    match product.device() {
        Device::Cpu => {}
        Device::Cuda(index) => Cuda::synchronize(index as i64),
        _ => drop(product.double_value(&[0, 0])), // which waits for it
    }
    begin.elapsed().as_secs_f64()
}

fn word(precision: Precision) -> &'static str {
    match precision {
        Precision::Float32 => "float32",
        Precision::Bfloat16 => "bfloat16",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_measured_once_and_says_where_it_is_from() {
        for precision in [Precision::Float32, Precision::Bfloat16] {
            let peak = peak_of(Device::Cpu, precision).unwrap();
            assert!(peak.flops_per_second.is_finite() && peak.flops_per_second > 0.0, "{peak:?}");
            assert!(peak.source.starts_with("measured: products of "), "{peak:?}");
            assert_eq!(peak_of(Device::Cpu, precision).unwrap(), peak);
        }
    }
}
