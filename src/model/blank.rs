//! A model folder with fresh latent weights, written tensor by tensor, so that the model may be larger than memory. Which shape it has is
//! the business of `config`.

use crate::config::{ModelConfig, TokenIds};
use crate::libtorch::{tensor_bytes, tensor_file_header};
use crate::random::Random;
use crate::storage::{FileSystem, create_dir_durably, remove_tree};
use crate::{Context, Error, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor, no_grad};

/// Numbers that are made at a time.
const CHUNK: usize = 1 << 22;
/// Bytes gathered before a write call.
const BUFFER_BYTES: usize = 1 << 20;
/// Space that must stay free beside what is written.
const SPARE_BYTES: u64 = 64 << 20;

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
        let (parent, temporary) = beside(dir)?;
        create_dir_durably(fs, &parent)?;
        self.refuse_full_disk(fs, &parent)?;
        let written = self.write_files(fs, &temporary).and_then(|()| {
            let renamed = fs.rename(&temporary, dir).and_then(|()| fs.sync_dir(&parent));
            renamed.context(|| format!("renaming {}", temporary.display()))
        });
        if written.is_err() {
            let _ = remove_tree(fs, &temporary); // what matters is the first error
        }
        written
    }

    fn refuse_full_disk(&self, fs: &dyn FileSystem, parent: &Path) -> Result<()> {
        let (free, needed) = (fs.free_space(parent).unwrap_or(u64::MAX), self.num_bytes() + SPARE_BYTES);
        if free >= needed {
            return Ok(());
        }
        let message = format!("{} has {free} bytes free, and {needed} are needed", parent.display());
        Err(Error::input(message).hint("take a smaller model, or another disk with -o"))
    }

    fn write_files(&self, fs: &dyn FileSystem, dir: &Path) -> Result<()> {
        fs.create_dir(dir).context(|| format!("creating {}", dir.display()))?;
        let config = serde_json::to_vec_pretty(&self.config.to_hugging_face(self.tokens)?)?;
        let TokenIds { bos, eos } = self.tokens;
        let generation = serde_json::to_vec_pretty(&json!({ "bos_token_id": bos, "eos_token_id": eos, "do_sample": false }))?;
        let mut small = vec![("config.json", config.as_slice()), ("generation_config.json", generation.as_slice())];
        small.extend(self.tokenizer.map(|tokenizer| ("tokenizer.json", tokenizer)));
        for (name, content) in small {
            write_file(fs, &dir.join(name), |writer| Ok(writer.write_all(content)?))?;
        }
        write_file(fs, &dir.join("model.safetensors"), |writer| self.write_weights(writer))?;
        fs.sync_dir(dir).context(|| format!("syncing {}", dir.display()))
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

    /// Norms at one, matrices from N(0, `initializer_range`).
    fn write_tensor(&self, name: &str, shape: &[usize], writer: &mut dyn Write) -> Result<()> {
        let is_norm = shape.len() == 1;
        let mut rest: usize = shape.iter().product();
        tch::manual_seed(Random::derive(self.seed, name, 0).next_u64() as i64);
        while rest > 0 {
            let count = rest.min(CHUNK);
            let (size, options) = ([count as i64], (Kind::Float, Device::Cpu));
            let numbers = match is_norm {
                true => Tensor::f_ones(size, options)?,
                false => no_grad(|| Tensor::f_randn(size, options)?.f_mul_scalar_(self.config.initializer_range))?,
            };
            writer.write_all(&tensor_bytes(&numbers)?)?;
            rest -= count;
        }
        Ok(())
    }
}

/// The directory that `dir` lies in, and where it is written first.
fn beside(dir: &Path) -> Result<(PathBuf, PathBuf)> {
    let name = dir.file_name().ok_or_else(|| Error::input(format!("{} names no folder", dir.display())).hint("such as -o blank"))?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((parent.to_path_buf(), dir.with_file_name(format!(".tmp-{}-{}", name.to_string_lossy(), std::process::id()))))
}

fn write_file(fs: &dyn FileSystem, path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let store = || -> Result<()> {
        let mut writer = BufWriter::with_capacity(BUFFER_BYTES, fs.create(path)?);
        write(&mut writer)?;
        let mut file = writer.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        Ok(file.sync()?)
    };
    store().context(|| format!("writing {}", path.display()))
}
