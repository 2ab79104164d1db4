//! Which device tensors live on. CUDA is opened at run time where set-up put it, so that one binary serves machines with and without.

use crate::config::DeviceChoice;
use crate::{Error, Result};
use std::ffi::CString;
use std::path::Path;
use tch::{Cuda, Device};

/// The device that `choice` means on this machine: `auto` takes CUDA, then MPS, then the CPU.
///
/// # Errors
/// The named device is absent.
pub fn select(choice: DeviceChoice) -> Result<Device> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda => cuda().ok_or_else(|| absent("cuda", "run scripts/setup-libtorch --cuda on a machine with an NVIDIA driver")),
        DeviceChoice::Mps => mps().ok_or_else(|| absent("mps", "it needs macOS on Apple silicon")),
        DeviceChoice::Auto => Ok(cuda().or_else(mps).unwrap_or(Device::Cpu)),
    }
}

/// The device and its threads, for a manifest.
pub fn description(device: Device) -> String {
    match device {
        Device::Cpu => format!("cpu ({} threads)", tch::get_num_threads()),
        Device::Cuda(index) => format!("cuda:{index}"),
        Device::Mps => "mps".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Threads that libtorch computes with. Results are bit-exact only between runs with the same number.
pub fn set_num_threads(num_threads: usize) {
    tch::set_num_threads(num_threads as i32);
}

/// Lets the C library keep the memory of freed tensors: without it, every large one is mapped and zeroed anew (a tenth of a step).
/// Elsewhere than on Linux with glibc this does nothing.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only sets thresholds of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 20); // the largest that glibc takes
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

fn absent(device: &str, hint: &str) -> Error {
    Error::input(format!("device: {device} is not available here")).hint(format!("{hint}, or choose device: auto"))
}

fn mps() -> Option<Device> {
    tch::utils::has_mps().then_some(Device::Mps)
}

fn cuda() -> Option<Device> {
    open_cuda_library();
    Cuda::is_available().then_some(Device::Cuda(0))
}

/// Opens libtorch_cuda beside the libtorch that this binary was built with; its registration makes libtorch see the GPU.
fn open_cuda_library() {
    let lib_dir = Path::new(env!("BITNET_LIBTORCH_LIB"));
    let candidates = [lib_dir.with_file_name("lib-cuda"), lib_dir.to_path_buf()];
    let library = candidates.iter().map(|dir| dir.join("libtorch_cuda.so")).find(|path| path.exists());
    let Some(path) = library.and_then(|path| CString::new(path.into_os_string().into_encoded_bytes()).ok()) else { return };
    // SAFETY: the path is a C string; libtorch's static initializers are what every program linked to it runs.
    unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
}
