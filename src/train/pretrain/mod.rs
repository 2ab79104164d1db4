//! Pre-training: the next token of a task's problems; that of text is the business of `text`.

mod text;

pub use text::{HeldOutText, TextPretraining};

use super::evaluation::evaluate_questions;
use super::objective::Objective;
use super::step::next_token_loss;
use crate::config::{DataConfig, Experiment};
use crate::data::{ArithmeticSource, Batch};
use crate::libtorch::sent;
use crate::model::Decoder;
use crate::run::EvaluationRow;
use crate::tasks::{Question, Task};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};
use tch::{Device, Tensor};

/// Problems made on the fly, and held-out questions about them.
pub struct Pretraining {
    source: ArithmeticSource,
    questions: Vec<Question>,
    tokenizer: Tokenizer,
    rows: usize,
    seq_len: usize,
    position: u64,
}

impl Pretraining {
    /// The objective that `experiment` describes, at its beginning.
    ///
    /// # Errors
    /// Ours: its data are no problems.
    pub fn new(experiment: &Experiment, tokenizer: &Tokenizer) -> Result<Self> {
        let DataConfig::Arithmetic(arithmetic) = &experiment.data else {
            return Err(Error::ours("these data are no problems"));
        };
        let questions = Task::arithmetic(arithmetic)?.held_out_questions(experiment.seed, experiment.evaluation.num_examples);
        Ok(Self {
            source: ArithmeticSource::new(arithmetic, tokenizer, experiment.seed)?,
            questions,
            tokenizer: tokenizer.clone(),
            rows: experiment.train.batch_size,
            seq_len: experiment.train.seq_len,
            position: 0,
        })
    }
}

impl Objective for Pretraining {
    fn next_loss(&mut self, decoder: &Decoder) -> Result<Tensor> {
        let batch = self.source.batch(self.position, self.rows, self.seq_len)?;
        self.position += 1;
        let (inputs, targets) = tensors(&batch, decoder.device());
        Ok(next_token_loss(decoder, &inputs, &targets))
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn seek(&mut self, position: u64) {
        self.position = position;
    }

    fn tokens_per_batch(&self) -> u64 {
        (self.rows * self.seq_len) as u64
    }

    fn fingerprint(&self) -> String {
        self.source.fingerprint()
    }

    fn evaluate(&self, decoder: &Decoder, step: u64) -> Result<Vec<EvaluationRow>> {
        evaluate_questions(decoder, &self.questions, &self.tokenizer, step)
    }
}

/// Inputs and targets, int64 `[rows, seq_len]`.
fn tensors(batch: &Batch, device: Device) -> (Tensor, Tensor) {
    let shape = [batch.rows as i64, batch.seq_len as i64];
    let tensor = |ids: &[i64]| sent(&Tensor::from_slice(ids).view(shape), device);
    (tensor(&batch.inputs), tensor(&batch.targets))
}
