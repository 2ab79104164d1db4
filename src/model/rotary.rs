//! Rotary position embedding in the layout of split halves: feature i turns with feature i + head_dim/2.

use tch::{Device, Kind, Tensor};

/// Cosines and sines for every position, float32 `[max_positions, head_dim]`, both halves alike.
#[derive(Debug)]
pub struct RotaryTables {
    cosines: Tensor,
    sines: Tensor,
}

impl RotaryTables {
    /// Tables for positions 0 to `max_positions - 1`; the frequencies are `theta^(-2i / head_dim)` (Su et al. 2021, section 3.2.2).
    pub fn new(head_dim: usize, max_positions: usize, theta: f64, device: Device) -> Self {
        let exponents = Tensor::arange_start_step(0, head_dim as i64, 2, (Kind::Float, device)) / head_dim as f64;
        let frequencies = Tensor::full([], theta, (Kind::Float, device)).pow(&-exponents); // [head_dim / 2]
        let positions = Tensor::arange(max_positions as i64, (Kind::Float, device));
        let angles = positions.outer(&frequencies);
        let angles = Tensor::cat(&[&angles, &angles], -1);
        Self { cosines: angles.cos(), sines: angles.sin() }
    }

    /// Cosines and sines, float32 `[max_positions, head_dim]`.
    pub fn tables(&self) -> (&Tensor, &Tensor) {
        (&self.cosines, &self.sines)
    }

    /// Turns `heads`, `[batch, heads, sequence, head_dim]`, whose first position is `start`.
    pub fn rotate(&self, heads: &Tensor, start: usize) -> Tensor {
        let length = heads.size()[2];
        let table = |values: &Tensor| values.narrow(0, start as i64, length).to_kind(heads.kind());
        let halves = heads.chunk(2, -1);
        let turned = Tensor::cat(&[&-&halves[1], &halves[0]], -1);
        heads * table(&self.cosines) + turned * table(&self.sines)
    }
}
