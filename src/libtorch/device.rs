//! The devices of this machine. CUDA is opened at run time where libtorch is, so that one binary serves machines with and without.

use super::foreign::{bitnet_cuda_peak_memory, bitnet_flush_denormals, check};
use crate::{Error, Result};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs;
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

/// The most memory of an NVIDIA GPU that tensors had, and that libtorch held for them; none on other devices.
pub fn cuda_peak_memory(device: Device) -> Result<Option<[u64; 2]>> {
    let Device::Cuda(index) = device else { return Ok(None) };
    let (mut of_tensors, mut held) = (0, 0);
    // SAFETY: both numbers are ours.
    check(unsafe { bitnet_cuda_peak_memory(index as i64, &mut of_tensors, &mut held) })?;
    Ok(Some([of_tensors, held].map(|bytes: i64| bytes as u64)))
}

/// What the driver of NVIDIA GPU `index` calls it, such as `NVIDIA H200`; none where it does not say.
pub fn cuda_name(index: usize) -> Option<String> {
    type GetName = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
    let (device, mut name) = (driver_device(index)?, [0 as c_char; 256]);
    let function = driver_function(c"cuDeviceGetName")?;
    // SAFETY: the function has had this type since CUDA 2, and writes a C string of at most 255 bytes into a place of 256.
    let status = unsafe { std::mem::transmute::<*mut c_void, GetName>(function)(name.as_mut_ptr(), 255, device) };
    // SAFETY: the last byte is zero, whatever was written.
    (status == 0).then(|| unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

/// The memory of NVIDIA GPU `index`; none where its driver does not say.
pub fn cuda_memory_bytes(index: usize) -> Option<u64> {
    type TotalMemory = unsafe extern "C" fn(*mut usize, c_int) -> c_int;
    let (device, mut bytes) = (driver_device(index)?, 0);
    let function = driver_function(c"cuDeviceTotalMem_v2")?;
    // SAFETY: the function has had this type since CUDA 3.2, and writes one number.
    let status = unsafe { std::mem::transmute::<*mut c_void, TotalMemory>(function)(&mut bytes, device) };
    (status == 0).then_some(bytes as u64)
}

/// The driver's handle of GPU `index`, once libtorch has seen it.
fn driver_device(index: usize) -> Option<c_int> {
    type Get = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
    let (function, mut device) = (driver_function(c"cuDeviceGet")?, 0);
    // SAFETY: the function has had this type since CUDA 2, and writes one number.
    let status = unsafe { std::mem::transmute::<*mut c_void, Get>(function)(&mut device, index as c_int) };
    (status == 0).then_some(device)
}

/// A function of NVIDIA's driver, which libtorch has opened where it sees a GPU.
fn driver_function(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: both names are C strings, and the driver stays open.
    let function = unsafe {
        let driver = libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_NOW);
        if driver.is_null() { driver } else { libc::dlsym(driver, name.as_ptr()) }
    };
    (!function.is_null()).then_some(function)
}

/// Opens libtorch_cuda beside the libtorch that this process runs on; its registration makes libtorch see the GPU.
fn open_cuda_library() -> Result<()> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let lib_dir = loaded_from(&maps).unwrap_or(Path::new(env!("BITNET_LIBTORCH_LIB")));
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

/// The directory of libtorch_cpu.so in the text of /proc/self/maps: not always that of the build, where the library path names another.
fn loaded_from(maps: &str) -> Option<&Path> {
    let paths = maps.lines().filter_map(|line| Some(Path::new(&line[line.find('/')?..])));
    paths.filter(|path| path.file_name().is_some_and(|name| name == "libtorch_cpu.so")).find_map(Path::parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorch_is_where_the_process_has_it_from() {
        let maps = "7f00-7f01 r--p 00000000 00:00 0 \n\
                    7f01-7f02 r-xp 00000000 fe:00 12                        /opt/my torch/lib/libc10.so\n\
                    7f02-7f03 r-xp 00000000 fe:00 13                        /opt/my torch/lib/libtorch_cpu.so\n";
        assert_eq!(loaded_from(maps), Some(Path::new("/opt/my torch/lib")));
        assert_eq!(loaded_from("7f00-7f01 rw-p 00000000 00:00 0 [heap]\n"), None);
        if cfg!(target_os = "linux") {
            let maps = fs::read_to_string("/proc/self/maps").unwrap();
            assert!(loaded_from(&maps).unwrap().join("libtorch_cpu.so").is_file());
        }
    }
}
