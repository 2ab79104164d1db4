//! Claims about folders in the layout of the kernels: they compute what packed ones do, stay in their file, and what is damaged is one
//! clear error.

use super::folder_tests::damage;
use super::stored::int8_row;
use super::test_folder::{Stored, Tensors, as_f32, folder_of, random_tensors, small, write_folder};
use super::{Chunk, HeadFormat, LoadOptions, Model, Wanted};
use crate::config::{BLOCKS_METHOD, ModelConfig};
use crate::ternary::matrix::PackedMatrix;
use crate::ternary::weights::{TernaryMatrix, ternary_absmean};
use safetensors::Dtype;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const EMBEDDING: &str = "model.embed_tokens.weight";
const EMBEDDING_SCALE: &str = "model.embed_tokens.weight_scale";
const Q_PROJ: &str = "model.layers.1.self_attn.q_proj.weight";
const OPTIONS: LoadOptions = LoadOptions { num_threads: 1, head_format: HeadFormat::AsStored, cache_format: super::CacheFormat::Float32 };

fn config() -> Value {
    let mut config = small().to_hugging_face(Default::default()).unwrap();
    config["quantization_config"] = json!({"quant_method": BLOCKS_METHOD});
    config
}

/// The tensors with projections in blocks and, where `is_narrow`, the embedding in 8 bits.
fn in_blocks(tensors: &Tensors, is_narrow: bool) -> BTreeMap<String, Stored> {
    let mut stored: BTreeMap<String, Stored> = tensors.iter().map(|(name, tensor)| (name.clone(), as_f32(tensor))).collect();
    for (name, (shape, numbers)) in tensors.iter().filter(|(name, (shape, _))| name.contains(".layers.") && shape.len() == 2) {
        let TernaryMatrix { codes, scale } = ternary_absmean(numbers).unwrap();
        let matrix = PackedMatrix::pack(&codes, shape[0], shape[1], scale).unwrap();
        let block_shape = vec![shape[0].div_ceil(16), shape[1].div_ceil(16), 64];
        stored.insert(name.clone(), (Dtype::U8, block_shape, matrix.bytes().to_vec()));
        stored.insert(format!("{name}_scale"), as_f32(&(vec![1], vec![scale])));
    }
    if is_narrow {
        let (shape, numbers) = &tensors[EMBEDDING];
        let mut codes = vec![0; numbers.len()];
        let rows = numbers.chunks(shape[1]).zip(codes.chunks_mut(shape[1]));
        let scales = rows.map(|(row, codes)| int8_row(row, codes)).collect();
        stored.insert(EMBEDDING.into(), (Dtype::I8, shape.clone(), codes.iter().map(|code| code.cast_unsigned()).collect()));
        stored.insert(EMBEDDING_SCALE.into(), as_f32(&(vec![shape[0]], scales)));
    }
    stored
}

fn logits(model: &Model) -> crate::Result<Vec<f32>> {
    let (mut cache, mut workspace) = (model.new_cache(8)?, model.new_workspace(8));
    let chunk = Chunk { cache: &mut cache, tokens: &[3, 1, 4, 1, 5, 9, 2, 6], logits: Wanted::All };
    Ok(model.forward(&mut [chunk], &mut workspace)?.to_vec())
}

#[test]
fn blocks_compute_what_latent_weights_do() {
    let tensors = random_tensors(&small(), 1);
    let latent = write_folder(&small(), &tensors);
    let formats = [HeadFormat::AsStored, HeadFormat::Float32, HeadFormat::Bfloat16, HeadFormat::Int8];
    for (is_narrow, head_format) in formats.map(|format| (false, format)).into_iter().chain([(true, HeadFormat::Int8)]) {
        let options = LoadOptions { head_format, ..OPTIONS };
        let expected = logits(&Model::load(latent.path(), &options).unwrap()).unwrap();
        let blocks = folder_of(&config(), &in_blocks(&tensors, is_narrow));
        assert_eq!(logits(&Model::load(blocks.path(), &options).unwrap()).unwrap(), expected, "{is_narrow} {head_format:?}");
    }
}

#[test]
fn tables_in_bfloat16_and_at_odd_places_of_a_file_compute_the_same() {
    let mut tensors = random_tensors(&small(), 6);
    tensors.get_mut(EMBEDDING).unwrap().1.iter_mut().for_each(|number| *number = f32::from_bits(number.to_bits() & 0xffff_0000));
    let expected = logits(&Model::load(write_folder(&small(), &tensors).path(), &OPTIONS).unwrap()).unwrap();
    let wide = in_blocks(&tensors, false);
    let mut narrow = wide.clone();
    let upper_halves = wide[EMBEDDING].2.as_chunks::<4>().0.iter().flat_map(|bytes| [bytes[2], bytes[3]]).collect();
    narrow.insert(EMBEDDING.into(), (Dtype::BF16, wide[EMBEDDING].1.clone(), upper_halves));
    for (files, head_format) in [(wide, HeadFormat::AsStored), (narrow.clone(), HeadFormat::AsStored), (narrow, HeadFormat::Float32)] {
        let blocks = folder_of(&config(), &files);
        let path = blocks.path().join("model.safetensors");
        let even = fs::read(&path).unwrap();
        let length = u64::from_le_bytes(even[..8].try_into().unwrap());
        // A byte more before the numbers.
        let odd = [&(length + 1).to_le_bytes()[..], &even[8..8 + length as usize], b" ", &even[8 + length as usize..]].concat();
        let options = LoadOptions { head_format, ..OPTIONS };
        for bytes in [even, odd] {
            fs::write(&path, bytes).unwrap();
            let found = logits(&Model::load(blocks.path(), &options).unwrap()).unwrap();
            let apart = found.iter().zip(&expected).fold(0f32, |most, (found, expected)| most.max((found - expected).abs()));
            // A head in bfloat16 sums in another order.
            assert!(apart <= 1e-4, "{head_format:?}: {apart}");
        }
    }
}

/// Where the numbers of a tensor lie in the folder's file.
fn place(dir: &Path, name: &str) -> std::ops::Range<usize> {
    let bytes = fs::read(dir.join("model.safetensors")).unwrap();
    let (length, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let (start, end) = metadata.info(name).unwrap().data_offsets;
    8 + length + start..8 + length + end
}

/// Writes into the file that is there, not a new one.
fn write_over(dir: &Path, place: std::ops::Range<usize>, byte: u8) {
    use std::io::{Seek, SeekFrom, Write};
    let mut file = fs::OpenOptions::new().write(true).open(dir.join("model.safetensors")).unwrap();
    file.seek(SeekFrom::Start(place.start as u64)).unwrap();
    file.write_all(&vec![byte; place.len()]).unwrap();
}

#[test]
fn weights_stay_in_their_file() {
    let tensors = random_tensors(&small(), 2);
    for (name, is_narrow) in [(Q_PROJ, false), (EMBEDDING, false), (EMBEDDING, true)] {
        let blocks = folder_of(&config(), &in_blocks(&tensors, is_narrow));
        let model = Model::load(blocks.path(), &OPTIONS).unwrap();
        let before = logits(&model).unwrap();
        write_over(blocks.path(), place(blocks.path(), name), 0);
        assert_ne!(logits(&model).unwrap(), before, "{name} of a mapped file is read where it lies");
    }
    let latent = write_folder(&small(), &tensors);
    let model = Model::load(latent.path(), &OPTIONS).unwrap();
    let before = logits(&model).unwrap();
    write_over(latent.path(), place(latent.path(), Q_PROJ), 0);
    write_over(latent.path(), place(latent.path(), EMBEDDING), 0);
    assert_eq!(logits(&model).unwrap(), before, "others are copied");
}

/// What is said of a folder in blocks with 8-bit rows in which something is another.
fn refusal_of(change: impl FnOnce(&mut Value, &mut BTreeMap<String, Stored>)) -> String {
    let (mut config, mut files) = (config(), in_blocks(&random_tensors(&small(), 3), true));
    change(&mut config, &mut files);
    let error = Model::load(folder_of(&config, &files).path(), &OPTIONS).unwrap_err();
    assert_eq!(error.exit_status(), 2, "{error}");
    error.to_string()
}

#[test]
fn what_does_not_fit_is_refused() {
    let message = refusal_of(|config, _| config["quantization_config"]["quant_method"] = "bitnet".into());
    assert!(message.contains("embed_tokens.weight has type I8, expected F32, BF16 or F16"), "{message}");
    let message = refusal_of(|config, files| {
        config["quantization_config"]["quant_method"] = "bitnet".into();
        *files = in_blocks(&random_tensors(&small(), 3), false);
    });
    assert!(message.contains("has shape [3, 3, 64], expected [12, 48]"), "{message}");
    let message = refusal_of(|config, files| {
        config.as_object_mut().unwrap().remove("quantization_config");
        *files = in_blocks(&random_tensors(&small(), 3), false);
    });
    assert!(message.contains("does not say how weight_scale applies"), "{message}");
    let message = refusal_of(|_, files| _ = files.insert(Q_PROJ.into(), (Dtype::U8, vec![12, 48], vec![0; 576])));
    assert!(message.contains(Q_PROJ) && message.contains("has shape [12, 48], expected [3, 3, 64]"), "{message}");
    let message = refusal_of(|_, files| _ = files.remove(&format!("{Q_PROJ}_scale")));
    assert!(message.contains("q_proj.weight_scale is missing"), "{message}");
    let message = refusal_of(|_, files| _ = files.remove(EMBEDDING_SCALE));
    assert!(message.contains("embed_tokens.weight_scale is missing"), "{message}");
    let message = refusal_of(|_, files| _ = files.insert(EMBEDDING_SCALE.into(), as_f32(&(vec![36], vec![1.0; 36]))));
    assert!(message.contains("has shape [36], expected [37]"), "{message}");
    let no_scales = [(-1.0, "is -1 in row 5, which is no scale"), (f32::NAN, "holds NaN at position 5"), (3e38, "in row 5, which is no")];
    for (scale, told) in no_scales {
        let mut scales = vec![1.0; 37];
        scales[5] = scale;
        let message = refusal_of(|_, files| _ = files.insert(EMBEDDING_SCALE.into(), as_f32(&(vec![37], scales))));
        assert!(message.contains(told) && message.contains("damaged"), "{message}");
    }
    let plain = ModelConfig { tie_word_embeddings: false, ..small() };
    let message = refusal_of(|config, _| config["tie_word_embeddings"] = plain.tie_word_embeddings.into());
    assert!(message.contains("lm_head.weight is missing"), "{message}");
}

#[test]
fn numbers_that_are_not_finite_are_told_when_they_are_computed_with() {
    let mut tensors = random_tensors(&small(), 4);
    tensors.get_mut(EMBEDDING).unwrap().1[48 * 9] = f32::NAN; // of a token that is read
    let model = Model::load(folder_of(&config(), &in_blocks(&tensors, false)).path(), &OPTIONS).unwrap();
    let message = logits(&model).unwrap_err().to_string();
    assert!(message.contains("only finite numbers") && message.contains("hint: the model's weights are damaged"), "{message}");
}

#[test]
fn random_damage_to_blocks_never_panics() {
    damage(folder_of(&config(), &in_blocks(&random_tensors(&small(), 5), true)).path());
}
