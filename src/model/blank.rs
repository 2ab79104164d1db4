//! A model folder with fresh latent weights, written tensor by tensor, so that the model may be larger than memory. Which shape it has is
//! the business of `config`.

use crate::config::{ModelConfig, TokenIds};
use crate::libtorch::{caught, random, tensor_bytes, tensor_file_header};
use crate::random::Random;
use crate::storage::{FileSystem, NewFolder};
use crate::{Context, Error, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Numbers that are made at a time.
const CHUNK: usize = 1 << 22;

/// What goes into the folder.
pub struct BlankModel<'a> {
    /// The decoder's shape.
    pub config: &'a ModelConfig,
    /// `tokenizer.json`, if there is one.
    pub tokenizer: Option<&'a [u8]>,
    /// The tokens that begin and end a text.
    pub tokens: TokenIds,
    /// Of the weights: each matrix has random numbers of its own.
    pub seed: u64,
}

impl BlankModel<'_> {
    /// Bytes of the weights' file, about.
    pub fn num_bytes(&self) -> u64 {
        self.config.num_parameters() as u64 * Kind::Float.elt_size_in_bytes() as u64
    }

    /// Writes the folder `dir`, which must not exist: whole, or not at all.
    ///
    /// # Errors
    /// The user's: there is something at `dir`, or not enough space for it. Ours: a failed write.
    pub fn write(&self, fs: &dyn FileSystem, dir: &Path) -> Result<()> {
        if fs.exists(dir).context(|| format!("looking at {}", dir.display()))? {
            return Err(Error::input(format!("{} is there already", dir.display())).hint("name another folder with -o, or remove it"));
        }
        let folder = NewFolder::create(fs, dir)?;
        folder.require_space(self.num_bytes())?;
        self.write_files(&folder)?;
        folder.commit()
    }

    fn write_files(&self, folder: &NewFolder<'_>) -> Result<()> {
        let config = serde_json::to_vec_pretty(&self.config.to_hugging_face(self.tokens)?)?;
        let TokenIds { bos, eos } = self.tokens;
        let generation = serde_json::to_vec_pretty(&json!({ "bos_token_id": bos, "eos_token_id": eos, "do_sample": false }))?;
        let mut small = vec![("config.json", config.as_slice()), ("generation_config.json", generation.as_slice())];
        small.extend(self.tokenizer.map(|tokenizer| ("tokenizer.json", tokenizer)));
        for (name, content) in small {
            folder.write(name, |writer| Ok(writer.write_all(content)?))?;
        }
        folder.write("model.safetensors", |writer| self.write_weights(writer))
    }

    fn write_weights(&self, writer: &mut dyn Write) -> Result<()> {
        let shapes: BTreeMap<String, Vec<usize>> = self.config.parameter_shapes().into_iter().collect();
        let entries = shapes.iter().map(|(name, shape)| (name.clone(), Kind::Float, shape.clone()));
        writer.write_all(&tensor_file_header(entries)?.0)?;
        for (name, shape) in &shapes {
            self.write_tensor(name, shape, writer).context(|| format!("tensor {name}"))?;
        }
        Ok(())
    }

    /// Norms at one, matrices from N(0, `initializer_range`²).
    fn write_tensor(&self, name: &str, shape: &[usize], writer: &mut dyn Write) -> Result<()> {
        let is_norm = shape.len() == 1;
        let mut rest: usize = shape.iter().product();
        random::seed(Random::derive(self.seed, name, 0).next_u64())?;
        while rest > 0 {
            let count = rest.min(CHUNK);
            let size = [count as i64];
            let numbers = match is_norm {
                true => Tensor::f_ones(size, (Kind::Float, Device::Cpu))?,
                false => caught(|| Ok(random::normal(&size, self.config.initializer_range)))?,
            };
            writer.write_all(&tensor_bytes(&numbers)?)?;
            rest -= count;
        }
        Ok(())
    }
}
