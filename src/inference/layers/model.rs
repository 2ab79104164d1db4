//! The whole network, from the tokens of several texts to logits: loading it from a folder, and the forward pass.

use super::attention::Attention;
use super::cache::{Cache, CacheFormat, CacheShape};
use super::feed_forward::FeedForward;
use super::norm::RmsNorm;
use super::table::{HeadFormat, Table, TableScratch};
use super::workspace::{Chunk, Pass, Row, Wanted, Workspace};
use crate::config::ModelConfig;
use crate::dense::Level;
use crate::inference::stored::{Source, Weights};
use crate::ternary::kernels::Kernel;
use crate::ternary::threads::Threads;
use crate::{Error, Result};
use std::path::Path;

/// How a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// Threads that compute.
    pub num_threads: usize,
    /// The format of embedding and head.
    pub head_format: HeadFormat,
    /// The format of the caches.
    pub cache_format: CacheFormat,
}

impl Default for LoadOptions {
    /// All processors; the head as it is stored; caches in float32.
    fn default() -> Self {
        let num_threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self { num_threads, head_format: HeadFormat::default(), cache_format: CacheFormat::default() }
    }
}

/// Embedding, blocks, final norm and head, ready to compute with.
#[derive(Debug)]
pub struct Model {
    config: ModelConfig,
    embedding: Table,
    blocks: Vec<Block>,
    norm: RmsNorm,
    head: Option<Table>, // none where it is the embedding
    threads: Threads,
    cache_format: CacheFormat,
}

/// `x + attention(norm(x))`, then `x + feed_forward(norm(x))`; without the norms where every BitLinear has its own.
#[derive(Debug)]
struct Block {
    input_norm: Option<RmsNorm>,
    attention: Attention,
    post_attention_norm: Option<RmsNorm>,
    feed_forward: FeedForward,
}

impl Model {
    /// Loads the folder `path`, config.json with latent or packed weights in one safetensors file or several; or the GGUF file `path`.
    ///
    /// # Errors
    /// The user's: a file is missing or damaged, or they do not fit each other.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self> {
        Self::of(&Source::open(path)?, options)
    }

    /// The model whose files these are.
    pub(crate) fn of(source: &Source, options: &LoadOptions) -> Result<Self> {
        // What the environment asks for is refused here, if it is: computing cannot.
        let _ = (Kernel::best()?, Level::asked()?);
        let (weights, model) = (Weights::new(source)?, source.config().model.clone());
        let threads = Threads::new(options.num_threads)?;
        let table = |name: &str| weights.with_table(name, |stored| Table::read(&stored, options.head_format, &threads));
        let (embedding, has_head) = (table("model.embed_tokens.weight")?, !model.tie_word_embeddings);
        let head = has_head.then(|| table("lm_head.weight")).transpose()?;
        Ok(Self {
            embedding,
            blocks: Block::load_all(&weights, &model, &threads)?,
            norm: RmsNorm::load(&weights, "model.norm", model.rms_norm_eps)?,
            head,
            threads,
            cache_format: options.cache_format,
            config: model,
        })
    }

    /// Its shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Bytes of the head, which every generated token reads.
    pub fn head_bytes(&self) -> usize {
        self.head.as_ref().unwrap_or(&self.embedding).num_bytes()
    }

    /// A cache for a text of up to `capacity` tokens, but never beyond the model's context.
    ///
    /// # Errors
    /// Ours: no memory for it.
    pub fn new_cache(&self, capacity: usize) -> Result<Cache> {
        Cache::new(CacheShape::of(&self.config), capacity.min(self.config.max_position_embeddings), self.cache_format)
    }

    /// Memory for passes over up to `max_tokens` tokens, of all texts of a batch together.
    pub fn new_workspace(&self, max_tokens: usize) -> Workspace {
        Workspace::new(&self.config, max_tokens.max(1))
    }

    /// Reads the tokens of `batch`, each chunk behind what its cache has read: logits of the tokens that are wanted, in the order of the
    /// batch, `[wanted, vocabulary]`. What a text's logits are does not depend on the other texts, nor on how it is cut into chunks.
    ///
    /// # Errors
    /// The user's: a token that is not in the vocabulary, or a text beyond its cache. Ours: an empty chunk, more tokens than the
    /// workspace has room for, a cache of another model. Nothing has been read then.
    pub fn forward<'w>(&self, batch: &mut [Chunk<'_>], workspace: &'w mut Workspace) -> Result<&'w [f32]> {
        self.refuse_misfits(batch, workspace)?;
        let Workspace { rows, rotary, buffers, logits, scratch, .. } = workspace;
        rows.clear();
        for (index, chunk) in batch.iter().enumerate() {
            rows.extend((0..chunk.tokens.len()).map(|offset| Row { chunk: index, position: chunk.cache.len() + offset }));
        }
        rotary.set_positions(rows.iter().map(|row| row.position));
        buffers.set_rows(rows.len());
        let tokens = batch.iter().flat_map(|chunk| chunk.tokens);
        let hidden = buffers.residual.chunks_exact_mut(self.config.hidden_size);
        tokens.zip(hidden).for_each(|(&token, row)| self.embedding.read_row(token as usize, row));
        for (layer, block) in self.blocks.iter().enumerate() {
            block.forward(&mut Pass { chunks: batch, rows, rotary, buffers, threads: &self.threads, layer })?;
        }
        batch.iter_mut().for_each(|chunk| chunk.cache.advance(chunk.tokens.len()));
        self.logits(batch, &mut buffers.residual, logits, scratch);
        Ok(logits)
    }

    /// Reads all of `tokens` behind what `cache` has read, in passes as large as the workspace: logits of the last one.
    ///
    /// # Errors
    /// Those of [`Self::forward`]; a part may have been read then.
    pub fn read<'w>(&self, tokens: &[u32], cache: &mut Cache, workspace: &'w mut Workspace) -> Result<&'w [f32]> {
        require_room(cache, tokens.len())?;
        let last = tokens.len().saturating_sub(1) / workspace.max_tokens * workspace.max_tokens;
        for tokens in tokens[..last].chunks(workspace.max_tokens) {
            self.forward(&mut [Chunk { cache: &mut *cache, tokens, logits: Wanted::Nothing }], workspace)?;
        }
        self.forward(&mut [Chunk { cache, tokens: &tokens[last..], logits: Wanted::Last }], workspace)
    }

    fn refuse_misfits(&self, batch: &[Chunk<'_>], workspace: &Workspace) -> Result<()> {
        let (count, shape) = (batch.iter().map(|chunk| chunk.tokens.len()).sum::<usize>(), CacheShape::of(&self.config));
        if count > workspace.max_tokens {
            return Err(Error::ours(format!("a batch of {count} tokens, the workspace has room for {}", workspace.max_tokens)));
        }
        for Chunk { cache, tokens, .. } in batch {
            if tokens.is_empty() || !cache.has_shape(shape) {
                return Err(Error::ours("a chunk without a token, or with a cache of another model"));
            }
            require_room(cache, tokens.len())?;
            if let Some(token) = tokens.iter().find(|&&token| token as usize >= self.config.vocab_size) {
                return Err(Error::input(format!("token {token} is not in the vocabulary of {}", self.config.vocab_size)));
            }
        }
        Ok(())
    }

    /// Logits of the wanted rows of `hidden`, which are moved to its beginning and normed there.
    fn logits(&self, batch: &[Chunk<'_>], hidden: &mut [f32], logits: &mut Vec<f32>, scratch: &mut TableScratch) {
        let (width, size) = (self.config.hidden_size, self.config.vocab_size);
        let (mut end, mut num_wanted) = (0, 0);
        for chunk in batch {
            end += chunk.tokens.len();
            let wanted = chunk.logits.count(chunk.tokens.len());
            hidden.copy_within((end - wanted) * width..end * width, num_wanted * width);
            num_wanted += wanted;
        }
        let hidden = &mut hidden[..num_wanted * width];
        hidden.chunks_exact_mut(width).for_each(|row| self.norm.apply(row));
        logits.resize(num_wanted * size, 0.0);
        self.head.as_ref().unwrap_or(&self.embedding).products(hidden, logits, scratch, &self.threads);
    }
}

impl Wanted {
    fn count(self, num_tokens: usize) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Last => num_tokens.min(1),
            Self::All => num_tokens,
        }
    }
}

impl Block {
    /// All of them, several at a time: quantizing and packing is most of the work of loading.
    fn load_all(weights: &Weights<'_>, model: &ModelConfig, threads: &Threads) -> Result<Vec<Self>> {
        let mut blocks: Vec<Result<Self>> = (0..model.num_hidden_layers).map(|_| Err(Error::ours("a block was not loaded"))).collect();
        let load = |(index, block): (usize, &mut Result<Self>)| *block = Self::load(weights, &format!("model.layers.{index}"), model);
        threads.for_each(blocks.iter_mut().enumerate(), load);
        blocks.into_iter().collect()
    }

    fn load(weights: &Weights<'_>, prefix: &str, model: &ModelConfig) -> Result<Self> {
        let is_outside = !model.bit_linear.norm.is_inside();
        let norm = |name: &str| RmsNorm::load_where(is_outside, weights, &format!("{prefix}.{name}"), model.rms_norm_eps);
        Ok(Self {
            input_norm: norm("input_layernorm")?,
            attention: Attention::load(weights, prefix, model)?,
            post_attention_norm: norm("post_attention_layernorm")?,
            feed_forward: FeedForward::load(weights, prefix, model)?,
        })
    }

    fn forward(&self, pass: &mut Pass<'_, '_>) -> Result<()> {
        self.attention.forward(self.input_norm.as_ref(), pass)?;
        self.feed_forward.forward(self.post_attention_norm.as_ref(), pass)
    }
}

/// Refuses `count` more tokens than `cache` has room for.
fn require_room(cache: &Cache, count: usize) -> Result<()> {
    if count <= cache.capacity() - cache.len() {
        return Ok(());
    }
    let message = format!("{} tokens are more than the context of {}", cache.len() + count, cache.capacity());
    Err(Error::input(message).hint("shorten the prompt"))
}
