//! Claims about every variant: logits are those of plain float64 arithmetic, and do not depend on how texts are cut, batched or threaded.

use super::reference::Reference;
use super::test_folder::{random_tensors, small, small_latent, variants, write_folder};
use super::{Cache, CacheFormat, Chunk, HeadFormat, LoadOptions, Model, Wanted};
use crate::config::{ActivationQuantizer, ModelConfig};

const OPTIONS: LoadOptions = LoadOptions { num_threads: 2, head_format: HeadFormat::AsStored, cache_format: CacheFormat::Float32 };

fn ids(length: usize, model: &ModelConfig) -> Vec<u32> {
    (0..length).map(|index| ((index * index * 7 + index * 3 + 1) % model.vocab_size) as u32).collect()
}

/// Logits after each token of one text, in one pass.
fn all_logits(model: &Model, ids: &[u32]) -> Vec<f32> {
    let (mut cache, mut workspace) = (model.new_cache(ids.len()).unwrap(), model.new_workspace(ids.len()));
    model.forward(&mut [Chunk { cache: &mut cache, tokens: ids, logits: Wanted::All }], &mut workspace).unwrap().to_vec()
}

/// The largest and the mean difference, over the largest magnitude.
fn differences(found: &[f32], expected: &[f64]) -> (f64, f64) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0f64, |largest, number| largest.max(number.abs()));
    let apart: Vec<f64> = found.iter().zip(expected).map(|(&found, expected)| (f64::from(found) - expected).abs() / largest).collect();
    (apart.iter().copied().fold(0.0, f64::max), apart.iter().sum::<f64>() / apart.len() as f64)
}

/// A rounding of the 24th bit may move an activation to the next code; then logits of its token and of later ones differ by more than a
/// rounding. `tests/inference_parity.rs` measures how far a code reaches in models of this size: up to 5 % of the largest logit with 8 bits,
/// ten times as far with 4. How rarely that is, each test says.
fn is_close((largest, _): (f64, f64), quantizer: ActivationQuantizer) -> bool {
    match quantizer {
        ActivationQuantizer::None => largest < 1e-5,
        ActivationQuantizer::Int8Absmax => largest < 1e-1,
        ActivationQuantizer::Int4Absmean => largest < 1.0,
    }
}

#[test]
fn logits_of_every_variant_are_those_of_plain_float64_arithmetic() {
    let variants = variants();
    assert_eq!(variants.len(), 3 * 3 * 2 * 3);
    let mut num_exact = 0;
    for (seed, model) in (0..).zip(&variants) {
        let tensors = random_tensors(model, seed);
        let (dir, ids) = (write_folder(model, &tensors), ids(20, model));
        let expected = Reference { model, tensors: &tensors }.logits(&ids).concat();
        let found = all_logits(&Model::load(dir.path(), &OPTIONS).unwrap(), &ids);
        let apart = differences(&found, &expected);
        assert!(is_close(apart, model.bit_linear.activations), "{apart:?} {model:?}");
        num_exact += usize::from(apart.0 < 1e-5);
    }
    println!("{num_exact} of {} variants agree to a rounding", variants.len());
    assert!(num_exact > variants.len() * 3 / 4, "only {num_exact} of {} agree to a rounding", variants.len());
}

#[test]
fn odd_shapes_are_computed_like_others() {
    // Heads of 100 features, 5460 between the projections, one key head, a vocabulary that no kernel's width divides.
    let model = ModelConfig {
        hidden_size: 300,
        intermediate_size: 5460,
        num_hidden_layers: 1,
        num_attention_heads: 3,
        num_key_value_heads: 1,
        vocab_size: 131,
        initializer_range: 0.05,
        ..small()
    };
    let tensors = random_tensors(&model, 1);
    let (dir, ids) = (write_folder(&model, &tensors), ids(70, &small()));
    let model = ModelConfig { max_position_embeddings: 80, ..model };
    let expected = Reference { model: &model, tensors: &tensors }.logits(&ids[..50]).concat();
    let found = all_logits(&Model::load(dir.path(), &OPTIONS).unwrap(), &ids[..50]);
    // Of 300,000 codes some may be moved, each of them one of hundreds in its row.
    let (largest, mean) = differences(&found, &expected);
    println!("{largest:.1e} apart at most, {mean:.1e} in the mean");
    assert!(largest < 2e-2 && mean < 1e-3, "{largest:.1e} {mean:.1e}");
}

/// A loaded model of each attention, with the logits of a text.
fn loaded(options: &LoadOptions) -> Vec<(Model, Vec<u32>, Vec<f32>)> {
    let load = |(seed, config): (u64, ModelConfig)| {
        let dir = write_folder(&config, &random_tensors(&config, seed));
        let (model, ids) = (Model::load(dir.path(), options).unwrap(), ids(33, &config));
        let logits = all_logits(&model, &ids);
        (model, ids, logits)
    };
    (5..).zip([small(), small_latent(Some(18)), small_latent(None)]).map(load).collect()
}

#[test]
fn a_text_in_chunks_or_token_by_token_has_the_same_logits_to_the_bit() {
    for (model, ids, expected) in loaded(&OPTIONS) {
        for size in [1, 2, 7, 32] {
            let (mut cache, mut workspace) = (model.new_cache(33).unwrap(), model.new_workspace(size));
            let mut found = Vec::new();
            for tokens in ids.chunks(size) {
                let chunk = Chunk { cache: &mut cache, tokens, logits: Wanted::All };
                found.extend_from_slice(model.forward(&mut [chunk], &mut workspace).unwrap());
            }
            assert_eq!(found, expected, "chunks of {size}");
            assert_eq!((cache.len(), cache.capacity()), (33, 33));
        }
    }
}

#[test]
fn texts_in_one_batch_have_the_logits_that_each_has_alone() {
    for (model, ids, expected) in loaded(&OPTIONS) {
        let vocabulary = model.config().vocab_size;
        let mut caches: Vec<Cache> = (0..3).map(|_| model.new_cache(40).unwrap()).collect();
        let mut workspace = model.new_workspace(80);
        let [first, second, third] = &mut caches[..] else { unreachable!() };
        let other: Vec<u32> = ids.iter().rev().copied().collect();
        // A prompt, one token behind another prompt, and a chunk whose logits nobody wants.
        model.forward(&mut [Chunk { cache: &mut *second, tokens: &ids[..20], logits: Wanted::Nothing }], &mut workspace).unwrap();
        let mut batch = [
            Chunk { cache: third, tokens: &other[..9], logits: Wanted::Nothing },
            Chunk { cache: second, tokens: &ids[20..21], logits: Wanted::Last },
            Chunk { cache: first, tokens: &ids, logits: Wanted::All },
        ];
        let found = model.forward(&mut batch, &mut workspace).unwrap();
        assert_eq!(found[..vocabulary], expected[20 * vocabulary..21 * vocabulary]);
        assert_eq!(found[vocabulary..], expected);
        let found = model.read(&other[9..], third, &mut workspace).unwrap().to_vec();
        assert_eq!(found, all_logits(&model, &other)[32 * vocabulary..]);
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let [one, three] = [1, 3].map(|num_threads| loaded(&LoadOptions { num_threads, ..OPTIONS }));
    one.iter().zip(&three).for_each(|(one, three)| assert_eq!(one.2, three.2));
}

#[test]
fn a_prompt_is_read_in_passes_as_large_as_the_workspace_and_a_cache_can_go_back() {
    for (model, ids, expected) in loaded(&OPTIONS) {
        let (mut cache, mut workspace) = (model.new_cache(64).unwrap(), model.new_workspace(10));
        let last = &expected[expected.len() - model.config().vocab_size..];
        assert_eq!(model.read(&ids, &mut cache, &mut workspace).unwrap(), last);
        cache.truncate(12);
        assert_eq!(cache.len(), 12);
        assert_eq!(model.read(&ids[12..], &mut cache, &mut workspace).unwrap(), last);
    }
}

#[test]
fn narrow_heads_and_caches_are_close_to_wide_ones() {
    let exact = loaded(&OPTIONS);
    let formats = [
        (HeadFormat::Bfloat16, CacheFormat::Float32, 3e-2),
        (HeadFormat::Int8, CacheFormat::Float32, 6e-2),
        (HeadFormat::Float32, CacheFormat::Bfloat16, 3e-2),
    ];
    for (head_format, cache_format, tolerance) in formats {
        let narrow = loaded(&LoadOptions { head_format, cache_format, ..OPTIONS });
        for ((_, _, found), (_, _, expected)) in narrow.iter().zip(&exact) {
            let expected: Vec<f64> = expected.iter().copied().map(f64::from).collect();
            let (_, mean) = differences(found, &expected);
            assert!(mean < tolerance, "{head_format:?} {cache_format:?}: {mean}");
        }
    }
}

#[test]
fn what_does_not_fit_a_pass_is_refused_and_nothing_is_read() {
    let (model, ids, _) = loaded(&OPTIONS).swap_remove(0);
    let other = loaded(&OPTIONS).swap_remove(1).0;
    let (mut cache, mut workspace) = (model.new_cache(10).unwrap(), model.new_workspace(40));
    let mut refusal = |tokens: &[u32], cache: &mut Cache| {
        let error = model.forward(&mut [Chunk { cache, tokens, logits: Wanted::Last }], &mut workspace).unwrap_err();
        assert!(cache.is_empty());
        error.to_string()
    };
    assert!(refusal(&ids[..11], &mut cache).contains("11 tokens are more than the context of 10"));
    assert!(refusal(&[3, 37], &mut cache).contains("token 37 is not in the vocabulary of 37"));
    assert!(refusal(&[], &mut cache).contains("without a token"));
    assert!(refusal(&[1; 41], &mut model.new_cache(64).unwrap()).contains("41 tokens, the workspace has room for 40"));
    assert!(refusal(&[1], &mut other.new_cache(10).unwrap()).contains("another model"));
    assert_eq!(model.new_cache(usize::MAX).unwrap().capacity(), 64);
}

#[test]
fn a_latent_cache_holds_the_latent_and_one_key_a_position() {
    let latent = &loaded(&OPTIONS)[1].0;
    assert_eq!(latent.new_cache(10).unwrap().num_bytes(), 2 * 10 * (20 + 6) * 4);
    let grouped = &loaded(&LoadOptions { cache_format: CacheFormat::Bfloat16, ..OPTIONS })[0].0;
    assert_eq!(grouped.new_cache(10).unwrap().num_bytes(), 2 * 10 * 2 * 24 * 2);
}
