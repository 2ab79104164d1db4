//! Claims about learning rate and weight decay, against values worked out by hand from the published recipes.

use super::*;
use crate::config::{OptimizerConfig, ScheduleConfig};

fn config(num_steps: u64, warmup_steps: u64, rates: (f64, f64), shapes: (DecayShape, DecayShape)) -> TrainConfig {
    TrainConfig {
        num_steps,
        batch_size: 1,
        accumulation_steps: 1,
        seq_len: 1,
        activation_checkpointing: false,
        max_grad_norm: 1.0,
        max_skipped_steps: 1,
        record_codes_every: 0,
        optimizer: OptimizerConfig {
            learning_rate: rates.0,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            decay_norms: false,
            decay_embeddings: false,
        },
        schedule: ScheduleConfig {
            warmup_steps,
            learning_rate_decay: shapes.0,
            weight_decay_decay: shapes.1,
            quantization_blend_steps: 0,
            second_stage: Some(SecondStage { start: 0.5, learning_rate: rates.1, weight_decay: 0.0 }),
        },
    }
}

/// 100B tokens in batches of 1M: 100,000 steps.
fn recipe(first: f64, second: f64) -> TrainConfig {
    config(100_000, 375, (first, second), (DecayShape::Linear, DecayShape::Constant))
}

fn single_stage(shape: DecayShape, num_steps: u64, warmup_steps: u64) -> TrainConfig {
    let mut config = config(num_steps, warmup_steps, (1.0, 0.0), (shape, shape));
    config.schedule.second_stage = None;
    config
}

fn assert_close(actual: f64, expected: f64) {
    assert!((actual - expected).abs() <= 1e-12 * expected.abs().max(1e-9), "{actual} is not {expected}");
}

#[test]
fn the_700m_recipe_has_the_rates_worked_out_by_hand() {
    let config = recipe(1.5e-3, 1e-3);
    assert_close(learning_rate(&config, 1), 4e-6);
    assert_close(learning_rate(&config, 25_001), 1.125e-3);
    assert_close(learning_rate(&config, 50_000), 7.50015e-4);
    assert_close(learning_rate(&config, 50_001), 5e-4);
    assert_close(learning_rate(&config, 75_001), 2.5e-4);
    assert_close(learning_rate(&config, 100_000), 1e-8);
}

#[test]
fn the_3b_recipe_has_the_rates_worked_out_by_hand() {
    let config = recipe(1.2e-3, 8e-4);
    assert_close(learning_rate(&config, 1), 3.2e-6);
    assert_close(learning_rate(&config, 20_001), 9.6e-4);
    assert_close(learning_rate(&config, 50_001), 4e-4);
    assert_close(learning_rate(&config, 90_001), 8e-5);
}

#[test]
fn weight_decay_is_switched_off_at_half_the_steps() {
    let config = recipe(1.5e-3, 1e-3);
    assert_eq!([1, 375, 50_000, 50_001, 100_000].map(|step| weight_decay(&config, step)), [0.1, 0.1, 0.1, 0.0, 0.0]);
}

#[test]
fn cosine_weight_decay_falls_to_zero_at_the_switch() {
    let config = config(1000, 10, (1.0, 0.5), (DecayShape::Cosine, DecayShape::Cosine));
    assert_close(weight_decay(&config, 1), 0.1);
    assert_close(weight_decay(&config, 251), 0.05);
    let last = weight_decay(&config, 500);
    assert!(last > 0.0 && last < 1e-6, "{last}");
    assert_eq!(weight_decay(&config, 501), 0.0);
}

#[test]
fn weight_decay_of_a_single_stage_falls_over_the_whole_run() {
    let config = single_stage(DecayShape::Linear, 200, 10);
    assert_close(weight_decay(&config, 101), 0.05);
    assert_close(weight_decay(&config, 200), 0.0005);
}

#[test]
fn cosine_learning_rate_keeps_its_shape_through_the_switch() {
    let config = config(1000, 0, (1.0, 0.5), (DecayShape::Cosine, DecayShape::Constant));
    assert_close(learning_rate(&config, 1), 1.0);
    assert_close(learning_rate(&config, 251), 0.5 + 0.5 * std::f64::consts::FRAC_1_SQRT_2);
    assert_close(learning_rate(&config, 501), 0.25);
}

#[test]
fn a_constant_rate_is_the_peak_from_the_end_of_warm_up_on() {
    let config = single_stage(DecayShape::Constant, 100, 4);
    assert_eq!([1, 2, 3, 4, 5, 100].map(|step| learning_rate(&config, step)), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
}

#[test]
fn warm_up_joins_the_fall_without_a_jump() {
    for shape in [DecayShape::Constant, DecayShape::Linear, DecayShape::Cosine] {
        let config = single_stage(shape, 10_000, 100);
        let jumps = (1..10_000).map(|step| (learning_rate(&config, step + 1) - learning_rate(&config, step)).abs());
        let largest = jumps.fold(0.0, f64::max);
        assert!(largest <= 0.01 + 1e-12, "{shape:?} jumps by {largest}, more than the {} of a warm-up step", 1.0 / 100.0);
    }
}

#[test]
fn the_rate_rises_in_warm_up_and_falls_within_each_stage_and_is_never_zero() {
    for shape in [DecayShape::Linear, DecayShape::Cosine] {
        let config = config(1000, 50, (1.5e-3, 1e-3), (shape, shape));
        let rate = |step| learning_rate(&config, step);
        assert!((1..50).all(|step| rate(step) < rate(step + 1)));
        assert!((50..500).chain(501..1000).all(|step| rate(step) > rate(step + 1)));
        assert!(rate(501) < rate(500));
        assert!((1..=1000).all(|step| rate(step) > 0.0));
    }
}

#[test]
fn beyond_the_last_step_a_falling_rate_is_zero() {
    let config = single_stage(DecayShape::Linear, 10, 0);
    assert_eq!([11, 12, u64::MAX].map(|step| learning_rate(&config, step)), [0.0; 3]);
}

#[test]
fn the_switch_is_at_the_nearest_whole_step() {
    let mut config = recipe(1.0, 0.5);
    config.num_steps = 100;
    config.schedule.second_stage = Some(SecondStage { start: 0.29, learning_rate: 0.5, weight_decay: 0.0 });
    assert_eq!(first_stage_steps(&config), 29);
}

#[test]
fn quantizers_rise_from_nothing_at_the_first_step_to_all_after_the_blend() {
    let mut config = single_stage(DecayShape::Constant, 100, 0);
    assert_eq!([1, 2, 100].map(|step| quantization_share(&config, step)), [1.0; 3]);
    config.schedule.quantization_blend_steps = 8;
    assert_eq!([1, 2, 5, 8, 9, 10, 100].map(|step| quantization_share(&config, step)), [0.0, 0.125, 0.5, 0.875, 1.0, 1.0, 1.0]);
}
