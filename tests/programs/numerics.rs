//! Tests of the training half's numbers: one program, so that it is linked once. Each file of tests/ is a module of exactly one program;
//! `just test tests/NAME.rs` finds it, and tests/architecture.rs checks the lists.
// Each file names the modules that it shares with others, so that it reads alone.
#![allow(clippy::duplicate_mod)]
#![cfg(feature = "torch")]

#[path = "../adamw.rs"]
mod adamw;
#[path = "../attention.rs"]
mod attention;
#[path = "../bit_linear.rs"]
mod bit_linear;
#[path = "../cache.rs"]
mod cache;
#[path = "../checkpointing.rs"]
mod checkpointing;
#[path = "../decoder.rs"]
mod decoder;
#[path = "../generation.rs"]
mod generation;
#[path = "../golden_losses.rs"]
mod golden_losses;
#[path = "../head_cross_entropy.rs"]
mod head_cross_entropy;
#[path = "../inference_parity.rs"]
mod inference_parity;
#[path = "../init_from.rs"]
mod init_from;
#[path = "../integer_products.rs"]
mod integer_products;
#[path = "../latent_attention.rs"]
mod latent_attention;
#[path = "../new_model.rs"]
mod new_model;
#[path = "../quantization_blend.rs"]
mod quantization_blend;
#[path = "../tensor_quantizers.rs"]
mod tensor_quantizers;
#[path = "../variants.rs"]
mod variants;
#[path = "../weight_files.rs"]
mod weight_files;
