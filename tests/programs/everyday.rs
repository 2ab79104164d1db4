//! Tests of everything that needs no libtorch, and of the binaries from outside. One program, so that it is linked once; `just test
//! tests/NAME.rs` finds a file.
// Each file names the modules that it shares with others, so that it reads alone.
#![allow(clippy::duplicate_mod)]

#[path = "../architecture.rs"]
mod architecture;
#[path = "../bench_inference.rs"]
mod bench_inference;
#[path = "../bench_training.rs"]
mod bench_training;
#[path = "../blocks.rs"]
mod blocks;
#[path = "../chat.rs"]
mod chat;
#[path = "../chat_terminal.rs"]
mod chat_terminal;
#[path = "../check_status.rs"]
mod check_status;
#[path = "../checkpoint_rules.rs"]
mod checkpoint_rules;
#[path = "../config_reference.rs"]
mod config_reference;
#[path = "../disk_errors.rs"]
mod disk_errors;
#[path = "../doctor.rs"]
mod doctor;
#[path = "../estimate.rs"]
mod estimate;
#[path = "../export.rs"]
mod export;
#[path = "../generate.rs"]
mod generate;
#[path = "../gguf.rs"]
mod gguf;
#[path = "../gguf_python.rs"]
mod gguf_python;
#[path = "../help.rs"]
mod help;
#[path = "../hub.rs"]
mod hub;
#[path = "../import.rs"]
mod import;
#[path = "../inspect.rs"]
mod inspect;
#[path = "../plot_loss.rs"]
mod plot_loss;
#[path = "../power_loss.rs"]
mod power_loss;
#[path = "../prepare_data.rs"]
mod prepare_data;
#[path = "../processor.rs"]
mod processor;
#[path = "../quantization.rs"]
mod quantization;
#[path = "../serve.rs"]
mod serve;
#[path = "../setup.rs"]
mod setup;
#[path = "../train_tokenizer.rs"]
mod train_tokenizer;
#[path = "../transformers.rs"]
mod transformers;
