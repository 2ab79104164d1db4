//! Which device a model's tensors live on.

use crate::config::DeviceChoice;
use crate::libtorch::{cuda, mps};
use crate::{Error, Result};
use tch::Device;

/// The device that `choice` means on this machine: `auto` takes CUDA, then MPS, then the CPU.
///
/// # Errors
/// The named device is absent.
pub fn select_device(choice: DeviceChoice) -> Result<Device> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda => cuda()
            .map_err(|error| absent("cuda", &format!(": {error}"), "on a machine with an NVIDIA driver run scripts/setup-libtorch --cuda")),
        DeviceChoice::Mps => mps().ok_or_else(|| absent("mps", "", "it needs macOS on Apple silicon")),
        DeviceChoice::Auto => Ok(cuda().ok().or_else(mps).unwrap_or(Device::Cpu)),
    }
}

/// The device and its threads, for a manifest: bit-exact results need the same of both.
pub fn describe_device(device: Device) -> String {
    match device {
        Device::Cpu => format!("cpu ({} threads)", tch::get_num_threads()),
        Device::Cuda(index) => format!("cuda:{index}"),
        Device::Mps => "mps".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn absent(device: &str, reason: &str, hint: &str) -> Error {
    Error::input(format!("device: {device} is not available here{reason}")).hint(format!("{hint}, or choose device: auto"))
}
