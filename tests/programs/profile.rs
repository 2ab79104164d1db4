//! A program of its own for tests/profile.rs. It counts every operation of this process.
// Each file names the modules that it shares with others, so that it reads alone.
#![allow(clippy::duplicate_mod)]
#![cfg(feature = "torch")]

#[path = "../profile.rs"]
mod profile;
