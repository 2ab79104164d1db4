//! A packed folder of random weights: for speeds, which do not depend on what weights are.

use super::weights::is_projection;
use crate::config::ModelConfig;
use crate::folder::{CONFIG, WEIGHTS, scale_name};
use crate::random::Random;
use crate::storage::{DISK, write_atomically};
use crate::ternary::packing::num_packed_rows;
use crate::{Context, Error, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What is in a file for one tensor.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

/// Writes config.json and packed weights for `model` into the new folder `dir`, embedding and norms in bfloat16; an existing one is kept.
///
/// # Errors
/// The user's: the folder cannot be written. Ours: no config.json can say what the model is.
pub fn write_random_folder(model: &ModelConfig, dir: &Path) -> Result<()> {
    let config = dir.join(CONFIG);
    if config.is_file() {
        return Ok(());
    }
    let mut entries = model.to_hugging_face(Default::default())?;
    entries["quantization_config"] = json!({"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"});
    let tensors = tensors(model);
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| Ok((name, TensorView::new(*dtype, shape.clone(), bytes)?)));
    let views = views.collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>().map_err(Error::ours)?;
    std::fs::create_dir_all(dir).context(|| format!("making {}", dir.display()))?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(metadata), &dir.join(WEIGHTS)).context(|| format!("writing {}", dir.display()))?;
    // Last, since it says that the rest is there.
    write_atomically(&DISK, &config, entries.to_string().as_bytes())
}

/// Every tensor of a packed folder, by name.
fn tensors(model: &ModelConfig) -> BTreeMap<String, Stored> {
    let mut random = Random::derive(1, "random model", 0);
    let mut tensors = BTreeMap::new();
    for (name, shape) in model.parameter_shapes() {
        let (dtype, shape, bytes) = match is_projection(&name, &shape) {
            true => {
                tensors.insert(scale_name(&name), (Dtype::F32, vec![1], 0.02f32.to_le_bytes().to_vec()));
                let shape = vec![num_packed_rows(shape[0]), shape[1]];
                (Dtype::U8, shape.clone(), (0..shape[0] * shape[1]).map(|_| packed(&mut random)).collect())
            }
            false if shape.len() == 1 => (Dtype::BF16, shape.clone(), bf16(1.0).repeat(shape[0])),
            false => {
                let number = |_| bf16(0.04 * (random.below(4096) as f32 / 4096.0 - 0.5));
                (Dtype::BF16, shape.clone(), (0..shape[0] * shape[1]).flat_map(number).collect())
            }
        };
        tensors.insert(name, (dtype, shape, bytes));
    }
    tensors
}

/// Four codes, each 0, 1 or 2 as likely as the others.
fn packed(random: &mut Random) -> u8 {
    let mut codes = random.below(81) as u8;
    (0..4).fold(0, |byte, _| {
        let code = codes % 3;
        codes /= 3;
        byte << 2 | code
    })
}

fn bf16(number: f32) -> [u8; 2] {
    ((number.to_bits() >> 16) as u16).to_le_bytes()
}
