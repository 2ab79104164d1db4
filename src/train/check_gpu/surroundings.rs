//! Which device this is, and what it can do at best.

use super::finding::{Finding, Table};
use super::setting::device_word;
use crate::Result;
use crate::config::Precision;
use crate::libtorch::{self, cuda_memory_bytes, cuda_name};
use crate::train::peak_of;
use serde_json::json;
use tch::Device;

pub(super) fn look(device: Device) -> Result<Finding> {
    let (name, memory_bytes) = match device {
        Device::Cuda(index) => (cuda_name(index), cuda_memory_bytes(index)),
        _ => (None, None),
    };
    let word = device_word(device);
    let peak = peak_of(device, Precision::Bfloat16)?;
    let (threads, teraflops) = (tch::get_num_threads(), peak.flops_per_second / 1e12);
    let mut table = Table::new("Surroundings", &["what", "value"]);
    table.push(["device".into(), name.clone().map_or(word.to_owned(), |name| format!("{word}, {name}"))]);
    table.push([
        "memory of the device".into(),
        memory_bytes.map_or("-".into(), |bytes| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)),
    ]);
    table.push(["libtorch".into(), libtorch::VERSION.into()]);
    table.push(["threads of the CPU".into(), threads.to_string()]);
    table.push(["instructions for integer products on the CPU".into(), libtorch::integer_products().unwrap_or("none").into()]);
    table.push(["peak that MFU is a share of".into(), format!("{teraflops:.2} TFLOP/s, {}", peak.source)]);
    Ok(Finding {
        is_right: None,
        summary: format!("{}, {teraflops:.2} TFLOP/s", name.as_deref().unwrap_or(word)),
        table,
        numbers: json!({
            "device": word.to_lowercase(), "name": name, "memory_bytes": memory_bytes, "libtorch_version": libtorch::VERSION, "threads": threads,
            "integer_products": libtorch::integer_products(), "peak_flops_per_second": peak.flops_per_second, "peak_source": peak.source,
        }),
    })
}
