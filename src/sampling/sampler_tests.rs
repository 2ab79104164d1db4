//! Claims about the choice of tokens: that it is the one of a whole sort in plain arithmetic, and what each option does.

use super::sampler::{Sampler, SamplingOptions, log_probabilities};
use crate::random::Random;

const PLAIN: SamplingOptions = SamplingOptions { temperature: 1.0, seed: 7, ..SamplingOptions::GREEDY };

fn logits(random: &mut Random, length: usize) -> Vec<f32> {
    (0..length).map(|_| (random.unit() * 16.0 - 8.0) as f32).collect()
}

/// The same choice where everything is sorted.
fn by_a_whole_sort(options: SamplingOptions, random: &mut Random, logits: &[f32]) -> u32 {
    let mut candidates: Vec<(usize, f32)> = logits.iter().copied().enumerate().collect();
    candidates.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    if options.temperature == 0.0 {
        return candidates[0].0 as u32;
    }
    if options.top_k > 0 {
        candidates.truncate(options.top_k);
    }
    let largest = f64::from(candidates[0].1);
    let mut weights: Vec<f64> = candidates.iter().map(|&(_, logit)| ((f64::from(logit) - largest) / options.temperature).exp()).collect();
    let enough = weights.iter().sum::<f64>() * options.top_p;
    let mut reached = 0.0;
    let is_needed = |weight: &f64| {
        let is_needed = reached < enough;
        reached += weight;
        is_needed
    };
    let count = weights.iter().copied().take_while(is_needed).count().max(1);
    weights.truncate(count);
    let mut point = random.unit() * weights.iter().sum::<f64>();
    for (weight, (token, _)) in weights.iter().zip(&candidates) {
        point -= weight;
        if point < 0.0 {
            return *token as u32;
        }
    }
    candidates[weights.len() - 1].0 as u32
}

#[test]
fn choices_are_those_of_the_training_half() {
    let mut random = Random::derive(1, "logits", 0);
    let settings =
        [(0.0, 0, 1.0), (1.0, 0, 1.0), (0.8, 0, 0.95), (1.5, 40, 1.0), (3.0, 40, 0.9), (0.1, 7, 0.3), (1.0, 1, 1.0), (20.0, 0, 1.0)];
    for (temperature, top_k, top_p) in settings {
        let options = SamplingOptions { temperature, top_k, top_p, ..PLAIN };
        let (mut sampler, mut reference) = (Sampler::new(options), Random::derive(options.seed, "sampling", 0));
        for length in [1, 5, 100, 3000].repeat(25) {
            let logits = logits(&mut random, length);
            assert_eq!(sampler.choose(&logits).unwrap(), by_a_whole_sort(options, &mut reference, &logits), "{options:?}");
        }
    }
}

#[test]
fn shares_of_choices_are_their_probabilities() {
    let mut sampler = Sampler::new(PLAIN);
    let logits = [0f32.exp(), 2.0, 0.5, -1.0];
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    let mut counts = [0; 4];
    (0..40_000).for_each(|_| counts[sampler.choose(&logits).unwrap() as usize] += 1);
    for (count, logit) in counts.into_iter().zip(logits) {
        let share = f64::from(logit).exp() / sum;
        assert!((f64::from(count) / 40_000.0 - share).abs() < 0.012, "{counts:?}");
    }
}

#[test]
fn min_p_leaves_those_likely_enough_beside_the_likeliest() {
    let mut sampler = Sampler::new(SamplingOptions { min_p: 0.3, ..PLAIN });
    let chosen: Vec<u32> = (0..300).map(|_| sampler.choose(&[0.0, 2.0, 1.0, 0.7]).unwrap()).collect();
    assert!(chosen.contains(&1) && chosen.contains(&2) && !chosen.contains(&0) && !chosen.contains(&3));
    let mut sampler = Sampler::new(SamplingOptions { min_p: 1.0, ..PLAIN });
    assert!((0..100).all(|_| sampler.choose(&[0.0, 2.0, 1.9]).unwrap() == 1));
}

#[test]
fn a_penalty_makes_tokens_that_were_there_less_likely_whatever_their_sign() {
    let mut sampler = Sampler::new(SamplingOptions { repetition_penalty: 1.5, ..SamplingOptions::GREEDY });
    let logits = [2.0, 1.9, -1.0];
    assert_eq!([0; 3].map(|_| sampler.choose(&logits).unwrap()), [0, 1, 0]);
    sampler.observe(&[1]);
    assert_eq!(sampler.choose(&[-1.1, -1.0, -1.2]).unwrap(), 2);
}

#[test]
fn equal_logits_give_the_first_token_when_greedy() {
    assert_eq!(Sampler::new(SamplingOptions::GREEDY).choose(&[1.0, 3.0, 3.0, -2.0]).unwrap(), 1);
}

#[test]
fn logits_of_a_broken_model_are_one_clear_error() {
    for logits in [&[][..], &[1.0, f32::NAN], &[f32::INFINITY, 0.0]] {
        assert_eq!(Sampler::new(PLAIN).choose(logits).unwrap_err().exit_status(), 2);
    }
}

#[test]
fn options_out_of_range_are_refused() {
    let wrong = [
        SamplingOptions { temperature: -1.0, ..PLAIN },
        SamplingOptions { temperature: f64::NAN, ..PLAIN },
        SamplingOptions { top_p: 0.0, ..PLAIN },
        SamplingOptions { top_p: 1.1, ..PLAIN },
        SamplingOptions { min_p: -0.1, ..PLAIN },
        SamplingOptions { repetition_penalty: 0.0, ..PLAIN },
    ];
    wrong.iter().for_each(|options| assert!(options.validate().is_err(), "{options:?}"));
    assert!(PLAIN.validate().is_ok() && SamplingOptions::GREEDY.validate().is_ok());
}

#[test]
fn log_probabilities_are_those_of_a_softmax() {
    let found = log_probabilities(&[1.0, 3.0, 2.0, 3.0], 2, 3).unwrap();
    let sum = f64::ln([1f64, 3.0, 2.0, 3.0].iter().map(|logit| logit.exp()).sum());
    assert!((f64::from(found.chosen) - (2.0 - sum)).abs() < 1e-6);
    assert_eq!(found.top.iter().map(|top| top.token).collect::<Vec<_>>(), [1, 3, 2]);
    assert!((f64::from(found.top[0].log_probability) - (3.0 - sum)).abs() < 1e-6);
    assert_eq!(log_probabilities(&[0.0], 0, 5).unwrap().top.len(), 1);
    assert!(log_probabilities(&[0.0], 1, 0).is_none());
}
