//! What one forward pass is told beside its tokens.

/// How a forward pass computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// How far every quantizer counts: 0 is full precision, 1 quantized. Below 1 only in the first steps from a full-precision start.
    pub share: f64,
}

impl Default for Pass {
    fn default() -> Self {
        Self { share: 1.0 }
    }
}

impl Pass {
    /// Whether the quantizers count in full.
    pub(super) fn is_quantized(self) -> bool {
        self.share >= 1.0
    }
}
