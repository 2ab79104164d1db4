//! A program of its own for tests/fused.rs. It sets the number of threads of this process, and counts on it.
#![cfg(feature = "torch")]

#[path = "../fused.rs"]
mod fused;
