//! How tch's operators fail: they panic. Here operations of our own do as they do, and what a whole program raised becomes an error
//! again, with a hint where memory ran out.

use crate::error::catch_panic;
use crate::{Error, Result};
use std::any::Any;
use std::panic::panic_any;

/// How both of libtorch's allocators say that there is no memory left.
const OUT_OF_MEMORY: [&str; 2] = ["can't allocate memory", "out of memory"];
/// What arrives where there was none left for a message either: of C++'s allocator, and of libtorch, whose messages are put together late.
const WORDLESS: [&str; 2] = ["std::bad_alloc", "Error computing Error::what()"];

/// The value, or a panic as tch's operators have it: maths stays readable.
pub(super) fn raised<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic_any(error.to_string()))
}

/// Runs `body`; a panic in it, which is how libtorch's errors arrive through tch, becomes an error and prints nothing by itself.
///
/// # Errors
/// Those of `body`; ours, with libtorch's message and a hint, where it panicked.
pub fn caught<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_panic(body).unwrap_or_else(|payload| Err(Error::ours(message_of(&*payload)))).map_err(with_memory_hint)
}

/// The first line of what was raised, which is libtorch's message; a trace of its functions follows it.
fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("a panic without a message").replace("\\n", "\n");
    let text = text.trim_start_matches("called `Result::unwrap()` on an `Err` value: Torch(\"");
    if WORDLESS.iter().any(|sign| text.contains(sign)) {
        return "out of memory: the system gave no more".to_owned();
    }
    text.lines().next().unwrap_or_default().trim_end_matches("\")").to_string()
}

fn with_memory_hint(error: Error) -> Error {
    let text = error.message();
    let is_wordless = WORDLESS.iter().any(|sign| text.contains(sign));
    let error = if is_wordless { Error::ours("out of memory: the system gave no more") } else { error };
    let text = error.message();
    match error.hint_text().is_none() && OUT_OF_MEMORY.iter().any(|sign| text.contains(sign)) {
        true => error.hint("lower train.batch_size or train.seq_len (train.accumulation_steps makes up for it), or the model; --dry-run tells what they need, `ulimit -v` what this shell allows"),
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, Tensor};

    #[test]
    fn what_tch_raises_becomes_an_error_with_libtorchs_message() {
        let error =
            caught(|| Ok(Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)).matmul(&Tensor::zeros([2, 3], (Kind::Float, Device::Cpu)))));
        assert_eq!(error.unwrap_err().to_string(), "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)");
    }

    #[test]
    fn memory_that_is_not_there_comes_with_a_hint() {
        let error = caught(|| Ok(Tensor::zeros([1 << 28, 1 << 28], (Kind::Float, Device::Cpu)))).unwrap_err();
        assert_eq!(error.exit_status(), 1);
        assert!(error.to_string().contains("allocate"), "{error}");
        assert!(error.hint_text().unwrap().contains("train.batch_size"), "{error}");
    }

    #[test]
    fn memory_that_is_not_there_for_the_message_either_is_named() {
        for text in ["<Error computing Error::what()>", "std::bad_alloc"] {
            let raised = caught::<()>(|| panic_any(format!("called `Result::unwrap()` on an `Err` value: Torch(\"{text}\")")));
            let returned = caught(|| Err::<(), _>(Error::ours(text).context("libtorch")));
            for error in [raised.unwrap_err(), returned.unwrap_err()] {
                assert_eq!((error.message().as_str(), error.exit_status()), ("out of memory: the system gave no more", 1));
                assert!(error.hint_text().unwrap().contains("ulimit -v"), "{error}");
            }
        }
    }

    #[test]
    fn errors_and_values_pass_unchanged() {
        assert_eq!(caught(|| Ok(3)).unwrap(), 3);
        assert_eq!(caught(|| Err::<(), _>(Error::input("x").hint("y"))).unwrap_err().to_string(), "x\nhint: y");
        assert_eq!(caught(|| Ok(raised::<i32>(Err(Error::ours("of our own"))))).unwrap_err().to_string(), "of our own");
    }
}
