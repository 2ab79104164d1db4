//! The loop that continues one text, and what it remembers for the next one that begins alike: in a chat only the new turn is read.

use super::continuation::{Continuation, Ending, GenerationOptions, Piece, Summary};
use super::engine::Engine;
use crate::Result;
use crate::inference::layers::{Cache, Chunk, Wanted, Workspace};
use std::time::Instant;

/// The tokens that were read, and what the model made of them.
#[derive(Debug)]
pub struct Memory {
    cache: Cache,
    tokens: Vec<u32>,
}

impl Memory {
    /// Room for `capacity` tokens.
    ///
    /// # Errors
    /// Ours: no memory for that many.
    pub fn new(engine: &Engine, capacity: usize) -> Result<Self> {
        Ok(Self { cache: engine.model.new_cache(capacity)?, tokens: Vec::new() })
    }

    /// Forgets all but the tokens that `prompt` begins with; its last one has to be read again, since what follows it is asked for.
    fn keep_beginning_of(&mut self, prompt: &[u32]) {
        let is_same = |(kept, asked): &(&u32, &u32)| kept == asked;
        let num_same = self.tokens.iter().zip(prompt).take_while(is_same).count().min(prompt.len().saturating_sub(1));
        self.tokens.truncate(num_same);
        self.cache.truncate(num_same);
    }

    /// [`generate`], reading only what `prompt` does not have in common with the text before. The room has to be enough for prompt and
    /// text.
    ///
    /// # Errors
    /// Those of [`generate`], and a text beyond the room.
    pub fn generate(
        &mut self,
        engine: &Engine,
        prompt: &[u32],
        options: GenerationOptions,
        workspace: &mut Workspace,
        is_interrupted: &dyn Fn() -> bool,
        mut on_piece: impl FnMut(&Piece) -> Result<()>,
    ) -> Result<Summary> {
        let start = Instant::now();
        let mut continuation = Continuation::new(engine, prompt, options)?;
        self.keep_beginning_of(prompt);
        let num_remembered = self.tokens.len();
        let (mut unread, mut prompt_time) = (&prompt[num_remembered..], None);
        let mut last = [0; 1];
        while continuation.ending().is_none() {
            if is_interrupted() {
                let text = continuation.end(Ending::Interrupted);
                on_piece(&Piece { token: last[0], text, log_probabilities: None })?;
                break;
            }
            let (tokens, rest) = unread.split_at(unread.len().min(workspace.max_tokens()));
            let logits = if rest.is_empty() { Wanted::Last } else { Wanted::Nothing };
            let logits = engine.model.forward(&mut [Chunk { cache: &mut self.cache, tokens, logits }], workspace)?;
            self.tokens.extend_from_slice(tokens);
            unread = rest;
            if unread.is_empty() {
                prompt_time.get_or_insert_with(|| start.elapsed());
                let piece = continuation.advance(logits)?;
                on_piece(&piece)?;
                last = [piece.token];
                unread = &last;
            }
        }
        let prompt_time = prompt_time.unwrap_or_else(|| start.elapsed());
        Ok(Summary {
            num_prompt_tokens: prompt.len() - num_remembered,
            num_tokens: continuation.num_tokens(),
            prompt_time,
            generation_time: start.elapsed().saturating_sub(prompt_time),
            ending: continuation.ending().unwrap_or(Ending::Interrupted),
        })
    }
}

/// Continues `prompt`, giving each piece to `on_piece`; it stops soon after `is_interrupted` says so. Text that was held back then comes in
/// a piece of its own, whose token is the last one once more.
///
/// # Errors
/// Those of [`Continuation::new`] and [`crate::sampling::Sampler::choose`], and what `on_piece` returns.
pub fn generate(
    engine: &Engine,
    prompt: &[u32],
    options: GenerationOptions,
    workspace: &mut Workspace,
    is_interrupted: &dyn Fn() -> bool,
    on_piece: impl FnMut(&Piece) -> Result<()>,
) -> Result<Summary> {
    let capacity = prompt.len().saturating_add(options.max_new_tokens);
    Memory::new(engine, capacity)?.generate(engine, prompt, options, workspace, is_interrupted, on_piece)
}
