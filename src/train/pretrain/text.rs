//! The next token of a corpus.

use super::tensors;
use crate::config::Experiment;
use crate::data::{Batch, IntegrityCheck, Prefetch, Prepared, Split, Windows};
use crate::model::Decoder;
use crate::run::EvaluationRow;
use crate::tokenizer::Tokenizer;
use crate::train::objective::Objective;
use crate::train::step::next_token_loss;
use crate::{Error, Result};
use std::f64::consts::LN_2;
use std::sync::Arc;
use std::time::Duration;
use tch::{Tensor, no_grad};

/// Shuffled sequences of a prepared corpus, and held-out ones to measure on.
pub struct TextPretraining {
    batches: Prefetch,
    held_out: HeldOutText,
    tokens_per_batch: u64,
    fingerprint: String,
    integrity: IntegrityCheck,
}

/// Sequences that training never sees.
pub struct HeldOutText {
    batches: Vec<Batch>,
    /// Bytes of the text that all targets stand for.
    num_bytes: u64,
}

impl TextPretraining {
    /// The objective of `experiment` on `prepared`, at its beginning.
    ///
    /// # Errors
    /// The user's: a vocabulary that the model has no rows for, a split shorter than a sequence.
    pub fn new(experiment: &Experiment, prepared: &Prepared, tokenizer: &Tokenizer) -> Result<Self> {
        refuse_larger_vocabulary(experiment, prepared)?;
        let (rows, seq_len) = (experiment.train.batch_size, experiment.train.seq_len);
        let windows = Windows::new(prepared.shards(Split::Train)?, seq_len, experiment.seed)?;
        Ok(Self {
            batches: Prefetch::new(Arc::new(move |position| windows.batch(position, rows))),
            held_out: HeldOutText::new(experiment, prepared, tokenizer, experiment.evaluation.num_examples)?,
            tokens_per_batch: (rows * seq_len) as u64,
            fingerprint: prepared.fingerprint(),
            integrity: IntegrityCheck::new(prepared),
        })
    }
}

impl HeldOutText {
    /// At most `most` sequences of the held-out split, evenly spread.
    ///
    /// # Errors
    /// The user's: a split shorter than a sequence.
    pub fn new(experiment: &Experiment, prepared: &Prepared, tokenizer: &Tokenizer, most: usize) -> Result<Self> {
        let windows = Windows::new(prepared.shards(Split::Validation)?, experiment.train.seq_len, experiment.seed)?;
        let batches = windows.in_order(most, experiment.train.batch_size)?;
        let targets = batches.iter().flat_map(|batch| &batch.targets);
        let num_bytes = targets.map(|&token| tokenizer.token_bytes(token as u32) as u64).sum();
        Ok(Self { batches, num_bytes })
    }

    /// Tokens that are predicted.
    pub fn num_tokens(&self) -> u64 {
        self.batches.iter().map(|batch| batch.targets.len() as u64).sum()
    }

    /// `loss`: mean loss of a token in nats; `perplexity`: e to that; `bits_per_byte`: of the text, which does not depend on the tokenizer.
    pub fn evaluate(&self, decoder: &Decoder, step: u64) -> Result<Vec<EvaluationRow>> {
        let mut sum = 0.0;
        for batch in &self.batches {
            let (inputs, targets) = tensors(batch, decoder.device());
            let mean = no_grad(|| next_token_loss(decoder, &inputs, &targets)).f_double_value(&[])?;
            sum += mean * batch.targets.len() as f64;
        }
        let loss = sum / self.num_tokens() as f64;
        let row = |metric: &str, value| EvaluationRow { step, metric: metric.into(), value };
        Ok(vec![row("loss", loss), row("perplexity", loss.exp()), row("bits_per_byte", sum / LN_2 / self.num_bytes as f64)])
    }
}

fn refuse_larger_vocabulary(experiment: &Experiment, prepared: &Prepared) -> Result<()> {
    let (rows, tokens) = (experiment.model.vocab_size, prepared.manifest().tokenizer.vocab_size);
    if tokens <= rows {
        return Ok(());
    }
    let message = format!("the tokenizer of {} has {tokens} tokens, but model.vocab_size is {rows}", prepared.dir().display());
    Err(Error::input(message).hint(format!("--set model.vocab_size={}, or another tokenizer", tokens.next_multiple_of(64))))
}

impl Objective for TextPretraining {
    fn next_loss(&mut self, decoder: &Decoder) -> Result<Tensor> {
        self.integrity.look()?;
        let (inputs, targets) = tensors(&self.batches.next_batch()?, decoder.device());
        Ok(next_token_loss(decoder, &inputs, &targets))
    }

    fn ensure_whole(&mut self) -> Result<()> {
        self.integrity.wait()
    }

    fn position(&self) -> u64 {
        self.batches.position()
    }

    fn seek(&mut self, position: u64) {
        self.batches.seek(position);
    }

    fn tokens_per_batch(&self) -> u64 {
        self.tokens_per_batch
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn evaluate(&self, decoder: &Decoder, step: u64) -> Result<Vec<EvaluationRow>> {
        self.held_out.evaluate(decoder, step)
    }

    fn waited_for_data(&self) -> Duration {
        self.batches.waited()
    }
}
