//! Random numbers of one thread: libtorch's own generator is shared by all, so that a seed there repeats nothing while another thread draws.

use super::caught::raised;
use super::foreign::{bitnet_normal, bitnet_seed, check, made};
use crate::Result;
use tch::Tensor;

/// From here on the numbers of this thread are those of `seed`: the ones that libtorch gives on the CPU for the same seed.
///
/// # Errors
/// libtorch refuses.
pub fn seed(seed: u64) -> Result<()> {
    // SAFETY: the call takes a number alone.
    check(unsafe { bitnet_seed(seed) })
}

/// Float32 numbers from N(0, `deviation`²) on the CPU, the next ones of this thread's [`seed`]; on a thread without one, those of libtorch's own
/// first seed. Raises without memory, as tch's operators do.
pub fn normal(shape: &[i64], deviation: f64) -> Tensor {
    // SAFETY: the shape outlives the call.
    raised(made(|out| unsafe { bitnet_normal(shape.as_ptr(), shape.len() as i64, deviation, out) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_are_pytorchs_whatever_other_threads_draw() {
        seed(5).unwrap();
        let first = normal(&[40], 1.0);
        // torch.manual_seed(5); torch.randn(40)
        for (index, wanted) in [(0, 1.842_329_9), (1, 0.518_887_16), (17, 1.222_025_3), (39, -1.289_669)] {
            assert!((first.double_value(&[index]) - wanted).abs() < 1e-6, "{index}");
        }
        let second = normal(&[4, 10], 0.5);
        std::thread::spawn(|| seed(6)).join().unwrap().unwrap();
        seed(5).unwrap();
        let drawn = std::thread::spawn(|| normal(&[7], 1.0)).join().unwrap();
        assert_eq!(drawn.numel(), 7);
        assert_eq!(normal(&[40], 1.0), first);
        assert_eq!(normal(&[4, 10], 0.5), second);
        assert_ne!(normal(&[4, 10], 0.5), second);
    }
}
