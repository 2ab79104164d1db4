//! What crosses between host and device without either waiting for the other: numbers that are read later, tensors that are sent.

use super::caught::raised;
use super::foreign::{Opaque, bitnet_late, bitnet_late_drop, bitnet_late_read, bitnet_send_to_cuda, check, made};
use crate::Result;
use std::ptr::null_mut;
use tch::{Device, Tensor};

/// Numbers of a tensor as they were when they were asked for.
#[derive(Debug)]
pub struct Late {
    pointer: *mut Opaque,
    count: usize,
}

impl Late {
    /// Asks for `numbers`, float64 `[count]`, behind all that their device was told before; does not wait for it.
    pub fn new(numbers: &Tensor) -> Result<Self> {
        let mut pointer = null_mut();
        // SAFETY: the tensor outlives the call, and `pointer` is ours.
        check(unsafe { bitnet_late(numbers.as_ptr(), &mut pointer) })?;
        Ok(Self { pointer, count: numbers.numel() })
    }

    /// Waits until they are there, and not for what their device was told afterwards.
    ///
    /// # Errors
    /// The device failed.
    pub fn read(&self) -> Result<Vec<f64>> {
        let mut numbers = vec![0.0; self.count];
        // SAFETY: the pointer is of `new` and lives as long as this; there is place for `count` numbers.
        check(unsafe { bitnet_late_read(self.pointer, numbers.as_mut_ptr(), self.count as i64) })?;
        Ok(numbers)
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        // SAFETY: the pointer is of `new`, and nothing uses it afterwards.
        unsafe { bitnet_late_drop(self.pointer) }
    }
}

/// `tensor` of the host on `device`. Where that is an NVIDIA GPU, this does not wait for what it is doing, as a plain copy would.
pub fn sent(tensor: &Tensor, device: Device) -> Tensor {
    match device {
        // SAFETY: the tensor outlives the call; libtorch keeps its pinned copy until it has been read.
        Device::Cuda(index) => raised(made(|out| unsafe { bitnet_send_to_cuda(tensor.as_ptr(), index as i64, out) })),
        other => tensor.to_device(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_numbers_are_those_of_the_tensor_and_can_be_read_twice() {
        let late = Late::new(&Tensor::from_slice(&[1.5f64, f64::NAN, -2.0])).unwrap();
        for _ in 0..2 {
            let read = late.read().unwrap();
            assert!(read[0] == 1.5 && read[1].is_nan() && read[2] == -2.0 && read.len() == 3, "{read:?}");
        }
        assert!(Late::new(&Tensor::from_slice(&[1f32])).is_err());
    }

    #[test]
    fn what_is_sent_to_the_cpu_stays_what_it_is() {
        let tensor = Tensor::from_slice(&[3i64, 4]);
        assert_eq!(sent(&tensor, Device::Cpu), tensor);
    }
}
