//! What a run has written and been told is safe, and what its checkpoints and rows must therefore hold.

use bitnet::run::{CheckpointLabel, Fingerprints, MetricsRow};
use bitnet::storage::testing::SplitMix64;

/// A checkpoint's content is a function of its step and of the life that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub step: u64,
    pub variant: u64,
}

/// What must survive, and what may.
#[derive(Debug, Default)]
pub struct History {
    /// Acknowledged, or resumed from.
    pub safe: Option<Version>,
    /// Being saved when the life ended.
    pub in_flight: Option<Version>,
    /// The one with the lowest held-out loss of those acknowledged.
    pub best: Option<Version>,
}

impl Version {
    /// Names and contents of the files of this checkpoint.
    pub fn files(self) -> [(&'static str, Vec<u8>); 3] {
        let mut random = SplitMix64::new(self.step * 1_000 + self.variant);
        let mut bytes = |length: usize| (0..length).map(|_| random.next_u64() as u8).collect();
        [("model.safetensors", bytes(60)), ("optimizer.safetensors", bytes(40)), ("trainer.json", self.state().into_bytes())]
    }

    fn state(self) -> String {
        format!("{} {}", self.step, self.variant)
    }

    /// The version whose `trainer.json` this is.
    pub fn of_state(state: &[u8]) -> Option<Self> {
        let (step, variant) = std::str::from_utf8(state).ok()?.split_once(' ')?;
        Some(Self { step: step.parse().ok()?, variant: variant.parse().ok()? })
    }

    pub fn label(self) -> CheckpointLabel {
        let fingerprints = Fingerprints { config: "c".into(), tokenizer: "t".into(), data: "d".into() };
        CheckpointLabel { step: self.step, fingerprints, held_out_loss: Some(self.held_out_loss()) }
    }

    /// Up and down over the steps, so that the best is often an old one.
    pub fn held_out_loss(self) -> f64 {
        SplitMix64::new(self.step).below(100) as f64
    }
}

impl History {
    pub fn acknowledge(&mut self, saved: Version) {
        self.safe = Some(saved);
        self.in_flight = None;
        let is_best = |best: &Version| saved.held_out_loss() <= best.held_out_loss();
        if self.best.as_ref().is_none_or(is_best) {
            self.best = Some(saved);
        }
    }
}

pub fn row(step: u64) -> MetricsRow {
    MetricsRow {
        step,
        tokens: step * 4096,
        loss: 3.5 / step as f64,
        learning_rate: 1e-3,
        weight_decay: 0.1,
        grad_norm: f64::INFINITY,
        skipped_steps: 0,
        step_seconds: 0.25,
        tokens_per_second: 16384.0,
        unix_time: 1.7e9 + step as f64,
        mfu: None,
    }
}
