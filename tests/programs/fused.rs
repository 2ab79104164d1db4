//! A program of its own for tests/fused.rs. It sets the number of threads of this process, and counts on it.
// Each file names the modules that it shares with others, so that it reads alone.
#![allow(clippy::duplicate_mod)]
#![cfg(feature = "torch")]

#[path = "../fused.rs"]
mod fused;
