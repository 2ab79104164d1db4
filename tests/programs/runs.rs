//! Tests that train: whole runs by the binaries, and trainers of this process, which compute on one thread. One program, so that it is
//! linked once; `just test tests/NAME.rs` finds a file.
// Each file names the modules that it shares with others, so that it reads alone.
#![allow(clippy::duplicate_mod)]
#![cfg(feature = "torch")]

#[path = "../check_gpu.rs"]
mod check_gpu;
#[path = "../damage.rs"]
mod damage;
#[path = "../evaluate.rs"]
mod evaluate;
#[path = "../kill_loop.rs"]
mod kill_loop;
#[path = "../llama_cpp.rs"]
mod llama_cpp;
#[path = "../resume.rs"]
mod resume;
#[path = "../signals.rs"]
mod signals;
#[path = "../tensorboard.rs"]
mod tensorboard;
#[path = "../text_resume.rs"]
mod text_resume;
#[path = "../train_cli.rs"]
mod train_cli;
