//! One optimizer step: forward and backward over the micro-batches, clipping, update. Knows nothing of data, logs or checkpoints.

use crate::data::IGNORED_TARGET;
use crate::libtorch::Late;
use crate::model::Decoder;
use crate::optimizer::Adamw;
use crate::{Error, Result};
use tch::{Kind, Reduction, Tensor};

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepOutcome {
    /// Mean loss of the micro-batches, in nats per predicted token.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Whether the weights moved: not when the loss or the gradient was not finite.
    pub was_applied: bool,
}

/// The numbers of a step that change over a run.
#[derive(Debug, Clone, Copy)]
pub struct StepNumbers {
    /// Of this step.
    pub learning_rate: f64,
    /// Of this step, for the parameters that decay.
    pub weight_decay: f64,
    /// The gradient is scaled down to this norm when it is longer.
    pub max_grad_norm: f64,
}

/// A step that was launched; what it did is read later.
#[derive(Debug)]
pub struct LaunchedStep {
    /// The loss of each micro-batch, divided by their number, and the norm.
    numbers: Late,
}

/// The gradient of a mean loss, stored in the parameters, and that mean.
pub(super) struct Backward {
    /// The loss of each micro-batch, divided by their number.
    shares: Vec<Tensor>,
}

/// Stores the gradient of the mean of `losses`, one a micro-batch, clips it and updates. A loss or gradient that is not finite never
/// reaches the weights.
pub fn take_step(
    optimizer: &mut Adamw,
    losses: impl ExactSizeIterator<Item = Result<Tensor>>,
    numbers: StepNumbers,
) -> Result<StepOutcome> {
    Backward::of(optimizer, losses)?.take(optimizer, numbers)
}

/// [`take_step`] without waiting for the device, which decides by itself whether the weights move. The numbers are the same.
pub fn launch_step(
    optimizer: &mut Adamw,
    losses: impl ExactSizeIterator<Item = Result<Tensor>>,
    numbers: StepNumbers,
) -> Result<LaunchedStep> {
    Backward::of(optimizer, losses)?.launch(optimizer, numbers)
}

impl Backward {
    /// The pass of `losses`.
    fn of(optimizer: &mut Adamw, losses: impl ExactSizeIterator<Item = Result<Tensor>>) -> Result<Self> {
        let stopped = || Error::ours("a step that nothing stops was stopped");
        Self::unless(|| false, optimizer, losses)?.ok_or_else(stopped)
    }

    /// The pass of `losses`; none where `should_stop` was true before one of them.
    pub(super) fn unless(
        mut should_stop: impl FnMut() -> bool,
        optimizer: &mut Adamw,
        mut losses: impl ExactSizeIterator<Item = Result<Tensor>>,
    ) -> Result<Option<Self>> {
        optimizer.drop_gradients()?;
        let num_micro_batches = losses.len();
        let mut shares = Vec::with_capacity(num_micro_batches);
        while shares.len() < num_micro_batches {
            if should_stop() {
                return Ok(None);
            }
            let Some(micro_loss) = losses.next() else { break };
            let share = micro_loss? / num_micro_batches as f64;
            share.f_backward()?;
            shares.push(share.detach());
        }
        Ok(Some(Self { shares }))
    }

    /// Clips and updates.
    pub(super) fn take(self, optimizer: &mut Adamw, numbers: StepNumbers) -> Result<StepOutcome> {
        let grad_norm = optimizer.clip(numbers.max_grad_norm)?;
        // Read last: a GPU need not be waited for between micro-batches.
        let shares = self.shares.iter().map(|share| Ok(share.f_double_value(&[])?)).collect::<Result<Vec<_>>>()?;
        let outcome = StepOutcome::new(&shares, grad_norm);
        if outcome.was_applied {
            optimizer.step(numbers.learning_rate, numbers.weight_decay)?;
        }
        Ok(outcome)
    }

    /// [`Self::take`] without waiting for the device.
    pub(super) fn launch(self, optimizer: &mut Adamw, numbers: StepNumbers) -> Result<LaunchedStep> {
        let mut all = self.shares;
        all.push(optimizer.clip_late(numbers.max_grad_norm)?);
        let all = Tensor::f_stack(&all.iter().map(|one| one.f_to_kind(Kind::Double)).collect::<std::result::Result<Vec<_>, _>>()?, 0)?;
        let is_lost = all.f_isfinite()?.f_all()?.f_logical_not()?.f_to_kind(Kind::Float)?;
        optimizer.step_unless(&is_lost, numbers.learning_rate, numbers.weight_decay)?;
        Ok(LaunchedStep { numbers: Late::new(&all)? })
    }
}

impl LaunchedStep {
    /// Waits for the step, but for none that was launched after it.
    pub fn outcome(&self) -> Result<StepOutcome> {
        let numbers = self.numbers.read()?;
        let (grad_norm, shares) = numbers.split_last().ok_or_else(|| Error::ours("a step without numbers"))?;
        Ok(StepOutcome::new(shares, *grad_norm))
    }
}

impl StepOutcome {
    /// The outcome of the losses of the micro-batches, each divided by their number.
    fn new(shares: &[f64], grad_norm: f64) -> Self {
        let loss = shares.iter().fold(0.0, |sum, share| sum + share);
        Self { loss, grad_norm, was_applied: loss.is_finite() && grad_norm.is_finite() }
    }
}

/// Mean cross-entropy of the next tokens, in nats; positions whose target is [`IGNORED_TARGET`] do not count.
/// `inputs` and `targets` are int64 `[batch, sequence]`.
pub fn next_token_loss(decoder: &Decoder, inputs: &Tensor, targets: &Tensor) -> Tensor {
    decoder.next_token_loss(inputs, targets, IGNORED_TARGET)
}

/// The loss of every position, float32 `[batch, sequence]`, 0 where it is ignored; and the likeliest next tokens, of the same shape.
pub fn token_losses(decoder: &Decoder, inputs: &Tensor, targets: &Tensor) -> (Tensor, Tensor) {
    let logits = decoder.forward(inputs);
    let losses = logits.flatten(0, 1).cross_entropy_loss(&targets.flatten(0, 1), None::<&Tensor>, Reduction::None, IGNORED_TARGET, 0.0);
    (losses.view_as(targets).to_kind(Kind::Float), logits.argmax(-1, false))
}
