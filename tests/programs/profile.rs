//! A program of its own for tests/profile.rs. It counts every operation of this process.
#![cfg(feature = "torch")]

#[path = "../profile.rs"]
mod profile;
