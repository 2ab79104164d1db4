//! One optimizer step: forward and backward over the micro-batches, clipping, update. Knows nothing of data, logs or checkpoints.

use crate::Result;
use crate::data::IGNORED_TARGET;
use crate::model::Decoder;
use crate::optimizer::Adamw;
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

/// Adds the gradients of `losses`, one a micro-batch, clips them and updates. A loss or gradient that is not finite never reaches
/// the weights.
pub fn take_step(
    optimizer: &mut Adamw,
    losses: impl ExactSizeIterator<Item = Result<Tensor>>,
    numbers: StepNumbers,
) -> Result<StepOutcome> {
    optimizer.drop_gradients()?;
    let num_micro_batches = losses.len() as f64;
    let mut shares = Vec::with_capacity(losses.len());
    for micro_loss in losses {
        let share = micro_loss? / num_micro_batches;
        share.f_backward()?;
        shares.push(share.detach());
    }
    let grad_norm = optimizer.clip(numbers.max_grad_norm)?;
    // Read last: a GPU need not be waited for between micro-batches.
    let loss = shares.iter().try_fold(0.0, |sum, share| Ok::<_, crate::Error>(sum + share.f_double_value(&[])?))?;
    let was_applied = loss.is_finite() && grad_norm.is_finite();
    if was_applied {
        optimizer.step(numbers.learning_rate, numbers.weight_decay)?;
    }
    Ok(StepOutcome { loss, grad_norm, was_applied })
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
