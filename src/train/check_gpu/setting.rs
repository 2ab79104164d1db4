//! Where a part looks, and at how much.

use super::models::Scale;
use crate::config::DeviceChoice;
use std::path::PathBuf;
use tch::Device;

/// Where and how large.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Where the tensors that are looked at live.
    pub device: DeviceChoice,
    /// How much of everything.
    pub scale: Scale,
    /// A directory for what a part writes on its way.
    pub work_dir: PathBuf,
}

/// The device as tables name it.
pub(super) fn device_word(device: Device) -> &'static str {
    match device {
        Device::Cuda(_) => "CUDA",
        Device::Mps => "MPS",
        _ => "CPU",
    }
}
