//! Claims about estimates, against counts by hand and published sizes.

use super::*;
use crate::config::example::experiment;
use crate::config::{Attention, LatentAttention, NormPlacement};

/// By hand: a block has q, k, v, o of 256 x 256, gate, up, down of 256 x 768, two norms of 256, sub-norms of 256 and 768.
#[test]
fn the_parameters_of_the_arithmetic_model_are_those_counted_by_hand() {
    let block_matrices = 4 * 256 * 256 + 3 * 256 * 768;
    let block_norms = 256 + 256 + 256 + 768;
    let expected = ParameterCount {
        embedding: 32 * 256,
        projections: 6 * block_matrices,
        norms: 6 * block_norms + 256,
        total: 8192 + 6 * (262_144 + 589_824 + 1536) + 256,
    };
    let model = experiment().model;
    assert_eq!(model.parameter_count(), expected);
    assert_eq!(model.num_parameters() as u64, expected.total);
}

#[test]
fn norms_inside_every_projection_replace_the_blocks_own_and_the_sub_norms() {
    let mut model = experiment().model;
    model.bit_linear.norm = NormPlacement::Inside;
    // q, k, v, o, gate and up are given 256 numbers a token, down 768; one norm stands before the head.
    let expected = 6 * (6 * 256 + 768) + 256;
    assert_eq!(model.parameter_count().norms, expected);
    model.sub_norms = false;
    assert_eq!(model.parameter_count().norms, expected);
}

/// microsoft/bitnet-b1.58-2B-4T has 2,412,820,480 parameters.
#[test]
fn the_published_2b_model_has_its_published_size() {
    let mut model = experiment().model;
    (model.hidden_size, model.intermediate_size, model.num_hidden_layers) = (2560, 6912, 30);
    (model.num_attention_heads, model.num_key_value_heads, model.vocab_size) = (20, 5, 128_256);
    assert_eq!(model.parameter_count().total, 2_412_820_480);
}

/// By hand: heads of 32 + 16 and 48, latents of 96 and 64.
#[test]
fn latent_attention_has_the_parameters_and_arithmetic_counted_by_hand() {
    let mut model = experiment().model;
    let sizes = |q_lora_rank| LatentAttention { q_lora_rank, kv_lora_rank: 64, qk_nope_head_dim: 32, qk_rope_head_dim: 16, v_head_dim: 48 };
    model.attention = Attention::Latent(sizes(Some(96)));
    let shared = 256 * (64 + 16) + 64 * 4 * (32 + 48) + 4 * 48 * 256 + 3 * 256 * 768;
    let norms = 2 * 256 + 4 * 48 + 768 + 64;
    assert_eq!(model.num_ternary_per_layer(), 256 * 96 + 96 * 4 * 48 + shared);
    assert_eq!(model.num_norm_per_layer(), norms + 96);
    assert_eq!(model.flops_per_token(10), 6.0 * model.num_parameters() as f64 + 6.0 * (6 * 4 * (48 + 48) * 10) as f64);
    model.attention = Attention::Latent(sizes(None));
    assert_eq!(model.num_ternary_per_layer(), 256 * 4 * 48 + shared);
    assert_eq!(model.num_norm_per_layer(), norms);
    let listed: usize = model.parameter_shapes().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    assert_eq!(listed, model.num_parameters());
}

#[test]
fn an_untied_head_counts() {
    let mut model = experiment().model;
    model.tie_word_embeddings = false;
    assert_eq!(model.parameter_count().embedding, 2 * 32 * 256);
}

#[test]
fn tokens_arithmetic_and_memory_follow_the_formulas() {
    let mut experiment = experiment();
    experiment.train.accumulation_steps = 2;
    let estimate = experiment.estimate();
    assert_eq!((estimate.tokens_per_step, estimate.total_tokens), (8192, 8192 * 2400));
    let parameters = 5_129_472.0;
    assert_eq!(estimate.parameters.total, 5_129_472);
    assert_eq!(estimate.flops_per_token, 6.0 * parameters + 12.0 * 6.0 * 256.0 * 64.0);
    assert_eq!(estimate.master_bytes, 5_129_472 * 4);
    assert_eq!(estimate.checkpoint_bytes, 5_129_472 * 12);
    let step = experiment.step_memory(Kernels::CpuCodes);
    assert_eq!((estimate.kernels, estimate.step), (Kernels::CpuCodes, step));
    let held = step.operand_bytes + step.activation_bytes + step.transient_bytes + step.program_bytes;
    assert_eq!(estimate.memory_bytes, 5_129_472 * 16 + held);
}

#[test]
fn the_summary_is_aligned() {
    let expected = "\
parameters       5,129,472  (embedding 8,192, quantized 5,111,808, norms 9,472)
steps                2,400  (4,096 tokens each)
tokens           9,830,400  (1.9 a parameter)
arithmetic    3.14e14 FLOP  (3.20e7 a token)
memory           476.1 MiB  (weights with gradients and moments 78.3 MiB, operands 14.6 MiB, activations 217.1 MiB, passing 38.0 MiB, program 128.0 MiB)
checkpoint        58.7 MiB  (234.8 MiB on disk in all)";
    assert_eq!(experiment().estimate().to_string(), expected);
}

#[test]
fn the_estimate_serializes_for_programs() {
    let value = serde_json::to_value(experiment().estimate()).unwrap();
    assert_eq!(value["parameters"]["total"], 5_129_472);
    assert_eq!(value["tokens_per_step"], 4096);
}
