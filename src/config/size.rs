//! A decoder of about a wanted size, in the proportions of the published ternary and LLaMA architectures.

use super::{Activation, ActivationQuantizer, Attention, BitLinearConfig, ModelConfig, NormPlacement, WeightQuantizer};
use crate::{Error, Result};

/// Width and depth of published models: 700M, 1.3B, 3B, then LLaMA's 7B, 13B, 30B and 70B, with a narrow one before them.
const DEPTHS: [(f64, f64); 8] =
    [(1024.0, 24.0), (1536.0, 24.0), (2048.0, 24.0), (3200.0, 26.0), (4096.0, 32.0), (5120.0, 40.0), (6656.0, 60.0), (8192.0, 80.0)];
/// From this width on heads have 128 features and share keys four by four, as in 2B-4T; below, they have 64 and share none.
const WIDE: usize = 2560;
/// Below this width there are 32 features to a head, and widths in steps of these, so that small sizes are met, too.
const NARROW: usize = 512;
/// By how much the size may miss the wanted one, as a share of it; the next is asked where no decoder is within one.
const TOLERANCES: [f64; 3] = [0.02, 0.05, 0.1];
/// Rows of the embedding where nobody says how many.
const VOCABULARIES: [usize; 7] = [32_000, 16_384, 8_192, 4_096, 2_048, 1_024, 512];

impl ModelConfig {
    /// A ternary decoder with about `num_parameters` parameters, embedding included: within 5 % of it from 300M to 70B, and within 10 % from
    /// 1M on, unless the vocabulary is too large for so few. Everything that is no size is as in microsoft's 2B-4T.
    ///
    /// # Errors
    /// The user's: the vocabulary alone is too large for the size, or the size beyond every published proportion.
    pub fn of_size(num_parameters: u64, vocab_size: usize) -> Result<Self> {
        let narrow = (1..NARROW / 32).map(|count| count * 32);
        let middle = (NARROW / 64..WIDE / 64).map(|count| count * 64);
        let wide = (WIDE / 512..=24).map(|count| count * 512);
        let widths = narrow.chain(middle).chain(wide);
        let shapes: Vec<Self> = widths.flat_map(|hidden| depths(hidden).map(move |depth| shape(hidden, depth, vocab_size))).collect();
        let within = |tolerance: f64| {
            let fitting = shapes.iter().filter(|model| miss(model, num_parameters) <= tolerance);
            fitting.min_by(|left, right| disproportion(left).total_cmp(&disproportion(right))).cloned()
        };
        TOLERANCES.into_iter().find_map(within).ok_or_else(|| {
            let message = format!("no decoder with a vocabulary of {vocab_size} has about {num_parameters} parameters");
            Error::input(message).hint("--vocab-size N takes a smaller vocabulary, --params another size")
        })
    }

    /// Rows of the embedding that suit a decoder of about `num_parameters`: 32000, or fewer, so that it has at most a third of them.
    pub fn usual_vocabulary(num_parameters: u64) -> usize {
        let is_small = |vocab_size: usize| {
            let model = Self::of_size(num_parameters, vocab_size);
            model.is_ok_and(|model| 3 * (vocab_size * model.hidden_size) as u64 <= num_parameters)
        };
        let [largest, .., smallest] = VOCABULARIES;
        let fitting = VOCABULARIES.into_iter().find(|&vocab_size| is_small(vocab_size));
        if num_parameters >= 300_000_000 { largest } else { fitting.unwrap_or(smallest) }
    }
}

/// Depths that are not too far from the published proportion.
fn depths(hidden: usize) -> impl Iterator<Item = usize> {
    let published = published_depth(hidden as f64);
    (0.6 * published).ceil() as usize..=(1.6 * published) as usize
}

/// On the lines between the published points.
fn published_depth(hidden: f64) -> f64 {
    let (first, last) = (DEPTHS[0], DEPTHS[DEPTHS.len() - 1]);
    let pair = DEPTHS.windows(2).find(|pair| (pair[0].0..=pair[1].0).contains(&hidden));
    match pair {
        Some(pair) => pair[0].1 + (pair[1].1 - pair[0].1) * (hidden - pair[0].0) / (pair[1].0 - pair[0].0),
        None if hidden < first.0 => (first.1 * hidden / first.0).max(2.0),
        None => last.1,
    }
}

/// The feed-forward network is 2.7 times as wide as the residual stream, as in 2B-4T and 3B.
fn shape(hidden_size: usize, num_hidden_layers: usize, vocab_size: usize) -> ModelConfig {
    let (head_dim, step) = match hidden_size {
        ..NARROW => (32, 32.0),
        NARROW..WIDE => (64, 128.0),
        _ => (128, 128.0),
    };
    let num_attention_heads = hidden_size / head_dim;
    ModelConfig {
        vocab_size,
        hidden_size,
        intermediate_size: ((2.7 * hidden_size as f64 / step).round() * step) as usize,
        num_hidden_layers,
        num_attention_heads,
        num_key_value_heads: if hidden_size < WIDE { num_attention_heads } else { num_attention_heads / 4 },
        max_position_embeddings: 4096,
        rope_theta: 500_000.0,
        rms_norm_eps: 1e-5,
        hidden_act: Activation::Relu2,
        tie_word_embeddings: true,
        initializer_range: 0.02,
        attention: Attention::GroupedQuery,
        sub_norms: true,
        bit_linear: BitLinearConfig {
            weights: WeightQuantizer::TernaryAbsmean,
            activations: ActivationQuantizer::Int8Absmax,
            norm: NormPlacement::Outside,
        },
    }
}

/// How far the size is from the wanted one, as a share of it.
fn miss(model: &ModelConfig, wanted: u64) -> f64 {
    (model.num_parameters() as f64 / wanted as f64 - 1.0).abs()
}

/// How far the depth is from the published one for this width, in powers of e.
fn disproportion(model: &ModelConfig) -> f64 {
    (model.num_hidden_layers as f64 / published_depth(model.hidden_size as f64)).ln().abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_from_300m_to_70b_is_met_within_five_percent_in_published_proportions() {
        let steps = (0..=100).map(|step| 3e8 * (70e9_f64 / 3e8).powf(f64::from(step) / 100.0));
        for wanted in steps {
            for vocab_size in [32_000, 128_256] {
                let model = ModelConfig::of_size(wanted as u64, vocab_size).unwrap();
                model.validate().unwrap();
                assert!((model.num_parameters() as f64 / wanted - 1.0).abs() < 0.05, "{wanted}: {model:?}");
                assert!(disproportion(&model) < 0.25, "{wanted}: {model:?}");
            }
        }
    }

    #[test]
    fn every_size_from_1m_to_300m_is_met_within_ten_percent_with_the_usual_vocabulary() {
        for step in 0..=200 {
            let wanted = 1e6 * 300f64.powf(f64::from(step) / 200.0);
            let vocab_size = ModelConfig::usual_vocabulary(wanted as u64);
            let model = ModelConfig::of_size(wanted as u64, vocab_size).unwrap();
            model.validate().unwrap();
            assert!((model.num_parameters() as f64 / wanted - 1.0).abs() < 0.1, "{wanted}: {model:?}");
            assert!(disproportion(&model) < 0.52 && model.num_hidden_layers >= 2, "{wanted}: {model:?}");
        }
        assert_eq!([3e8, 1e8, 1e7].map(|wanted| ModelConfig::usual_vocabulary(wanted as u64)), [32_000, 32_000, 8_192]);
    }

    #[test]
    fn published_sizes_have_nearly_their_published_shapes() {
        for (wanted, hidden, layers) in [(729e6, 1536, 24), (1.33e9, 2048, 24), (70e9, 8192, 80)] {
            let model = ModelConfig::of_size(wanted as u64, 32_000).unwrap();
            let is_near = |found: usize, published: usize| (found as f64 / published as f64).ln().abs() < 0.2;
            assert!(is_near(model.hidden_size, hidden) && is_near(model.num_hidden_layers, layers), "{wanted}: {model:?}");
        }
    }

    #[test]
    fn a_vocabulary_larger_than_the_model_is_refused() {
        let error = ModelConfig::of_size(300_000_000, 1 << 22).unwrap_err();
        assert!(error.exit_status() == 2 && error.to_string().contains("4194304"), "{error}");
    }
}
