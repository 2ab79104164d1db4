//! The devices of this machine. CUDA is opened at run time where set-up put it, so that one binary serves machines with and without.

use std::ffi::CString;
use std::path::Path;
use tch::{Cuda, Device};

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

/// Apple's GPU, if there is one.
pub fn mps() -> Option<Device> {
    tch::utils::has_mps().then_some(Device::Mps)
}

/// The first NVIDIA GPU, if there is one.
pub fn cuda() -> Option<Device> {
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
