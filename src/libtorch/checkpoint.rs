//! Activation checkpointing: a piece of the network that keeps only its input, and is computed a second time by the backward pass.

use super::caught::{caught, raised};
use super::foreign::{bitnet_checkpointed, made};
use std::ffi::{CString, c_char, c_void};
use tch::Tensor;
use torch_sys::C_tensor;

type Body = Box<dyn Fn(&Tensor) -> Tensor>;

/// `body(input)`, with the same gradients, for the memory of `input` alone. The body runs once more in the backward pass, and must give the
/// same again; parameters that it reads get their gradients then. `input` needs a gradient itself, as the residual stream does: without
/// one nothing behind it is learned.
///
/// On a GPU libtorch runs backward passes on a thread of its own, while the thread that asked for it waits: so what the body holds is never
/// used by two at once.
pub fn checkpointed(input: &Tensor, body: impl Fn(&Tensor) -> Tensor + 'static) -> Tensor {
    let body: Box<Body> = Box::new(Box::new(body));
    let state = Box::into_raw(body).cast();
    // SAFETY: the tensor outlives the call; `state` is what both functions take it for, and is dropped once, by C++.
    raised(made(|out| unsafe { bitnet_checkpointed(input.as_ptr(), compute, drop_body, state, out) }))
}

/// Runs a body for C++: a panic becomes a message, as an unwinding must not cross the border.
unsafe extern "C" fn compute(state: *mut c_void, input: *const C_tensor, out: *mut *mut C_tensor) -> *mut c_char {
    // SAFETY: `state` is a `Body` of `checkpointed`, alive until `drop_body`.
    let body = unsafe { &*state.cast::<Body>() };
    let outcome = caught(|| {
        // SAFETY: a tensor that lives during this call; the clone shares its storage.
        let input = unsafe { Tensor::clone_from_ptr(input.cast_mut()) };
        Ok(body(&input))
    });
    match outcome {
        Ok(mut result) => {
            // SAFETY: `out` has place for a pointer; the tensor is C++'s from here on.
            unsafe { *out = result.as_mut_ptr() };
            std::mem::forget(result);
            std::ptr::null_mut()
        }
        Err(error) => message(&error.to_string()),
    }
}

/// A copy in memory of malloc, which C++ frees.
fn message(text: &str) -> *mut c_char {
    let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
    // SAFETY: a C string that lives during the call.
    unsafe { libc::strdup(text.as_ptr()) }
}

unsafe extern "C" fn drop_body(state: *mut c_void) {
    // SAFETY: `state` came from `Box::into_raw` and is dropped here alone.
    drop(unsafe { Box::from_raw(state.cast::<Body>()) });
}
