//! The devices of this machine. CUDA is opened at run time where set-up put it, so that one binary serves machines with and without.

use super::foreign::{bitnet_flush_denormals, check};
use crate::{Error, Result};
use std::ffi::{CStr, CString};
use std::path::Path;
use tch::{Cuda, Device};

/// Lets numbers below the smallest whole mantissa be zero, on this thread and its helpers, whatever computes them. Moments of weights whose
/// gradient is zero decay to such numbers, and they slowed the optimizer by three.
pub fn flush_denormals() -> Result<()> {
    // SAFETY: the function takes nothing and sets a mode of the processor for arithmetic that is all ours.
    check(unsafe { bitnet_flush_denormals() })
}

/// Apple's GPU, if there is one.
pub fn mps() -> Option<Device> {
    tch::utils::has_mps().then_some(Device::Mps)
}

/// The first NVIDIA GPU.
///
/// # Errors
/// libtorch has no CUDA here, cannot open it, or sees no GPU.
pub fn cuda() -> Result<Device> {
    open_cuda_library()?;
    match Cuda::is_available() {
        true => Ok(Device::Cuda(0)),
        false => Err(Error::input("libtorch sees no NVIDIA GPU")),
    }
}

/// Opens libtorch_cuda beside the libtorch that this binary was built with; its registration makes libtorch see the GPU.
fn open_cuda_library() -> Result<()> {
    let lib_dir = Path::new(env!("BITNET_LIBTORCH_LIB"));
    let candidates = [lib_dir.with_file_name("lib-cuda"), lib_dir.to_path_buf()];
    let library = candidates.iter().map(|dir| dir.join("libtorch_cuda.so")).find(|path| path.exists());
    let path = library.ok_or_else(|| Error::input(format!("there is no libtorch_cuda.so beside {}", lib_dir.display())))?;
    let path = CString::new(path.into_os_string().into_encoded_bytes())?;
    // SAFETY: the path is a C string; libtorch's static initializers are what every program linked to it runs.
    if !unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) }.is_null() {
        return Ok(());
    }
    // SAFETY: after a failed dlopen of this thread, dlerror is a C string, valid until the next such call.
    let reason = unsafe { CStr::from_ptr(libc::dlerror()) }.to_string_lossy().into_owned();
    Err(Error::input(format!("opening {}: {reason}", path.to_string_lossy())))
}
