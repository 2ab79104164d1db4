//! What is computed number by number between products: norms and gates. A number that is not finite stays so.

use super::level::{Level, Work};
use super::simd::{LANES, Simd};

/// `row = row / sqrt(mean(row²) + eps) · weight`, with a weight for each number.
pub fn rms_norm(level: Level, row: &mut [f32], weight: &[f32], eps: f32) {
    level.run(RmsNorm { row, weight, eps });
}

/// `gate = relu(gate)² · up`, of which `up` may be longer.
pub fn squared_relu_gate(level: Level, gate: &mut [f32], up: &[f32]) {
    level.run(Gate { gate, up, activation: SquaredRelu });
}

/// `gate = gate / (1 + e^-gate) · up`, of which `up` may be longer. Gates below -87 count as that in the power, so that those of -1e30 and beyond
/// give more than the nothing that they should.
pub fn silu_gate(level: Level, gate: &mut [f32], up: &[f32]) {
    level.run(Gate { gate, up, activation: Silu });
}

struct RmsNorm<'a> {
    row: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Work for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { row, weight, eps } = self;
        let count = row.len() as f32;
        let (chunks, rest) = row.as_chunks_mut::<LANES>();
        let (weights, weights_rest) = weight.as_chunks::<LANES>();
        let mut squares = [simd.splat(0.0); 4];
        for four in chunks.chunks(4) {
            for (sum, chunk) in squares.iter_mut().zip(four) {
                let numbers = simd.load(chunk);
                *sum = simd.multiply_add(numbers, numbers, *sum);
            }
        }
        let [a, b, c, d] = simd.totals(squares);
        let sum = (a + b) + (c + d) + rest.iter().map(|number| number * number).sum::<f32>();
        let factor = 1.0 / (sum / count + eps).sqrt();
        for (chunk, weight) in chunks.iter_mut().zip(weights) {
            let scaled = simd.multiply(simd.load(chunk), simd.splat(factor));
            simd.store(simd.multiply(scaled, simd.load(weight)), chunk);
        }
        rest.iter_mut().zip(weights_rest).for_each(|(number, weight)| *number = *number * factor * weight);
    }
}

/// The function of a gate.
trait Activation {
    fn apply<S: Simd>(&self, simd: S, numbers: S::Vector) -> S::Vector;
}

struct SquaredRelu;

impl Activation for SquaredRelu {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, numbers: S::Vector) -> S::Vector {
        let positive = simd.larger(numbers, simd.splat(0.0));
        // The larger of two numbers is 0 where one is none.
        simd.multiply_add(numbers, simd.splat(0.0), simd.multiply(positive, positive))
    }
}

struct Silu;

impl Activation for Silu {
    /// `(max(x, 0) + min(x, 0) · e) / (1 + e)` with `e = e^-|x|`, which never overflows.
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, numbers: S::Vector) -> S::Vector {
        let (zero, minus) = (simd.splat(0.0), simd.splat(-1.0));
        let negated = simd.multiply(numbers, minus);
        let power = simd.exponential(simd.multiply(simd.larger(numbers, negated), minus));
        let (positive, negative) = (simd.larger(numbers, zero), simd.multiply(simd.larger(negated, zero), minus));
        let share = simd.divide(simd.multiply_add(negative, power, positive), simd.add(simd.splat(1.0), power));
        simd.multiply_add(numbers, zero, share)
    }
}

struct Gate<'a, A> {
    gate: &'a mut [f32],
    up: &'a [f32],
    activation: A,
}

impl<A: Activation> Work for Gate<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { gate, up, activation } = self;
        let up = &up[..gate.len()];
        let ((chunks, rest), (ups, ups_rest)) = (gate.as_chunks_mut::<LANES>(), up.as_chunks::<LANES>());
        for (chunk, up) in chunks.iter_mut().zip(ups) {
            let activated = activation.apply(simd, simd.load(chunk));
            simd.store(simd.multiply(activated, simd.load(up)), chunk);
        }
        let mut filled = [0.0; LANES];
        filled[..rest.len()].copy_from_slice(rest);
        let activated = simd.numbers(activation.apply(simd, simd.load(&filled)));
        rest.iter_mut().zip(activated).zip(ups_rest).for_each(|((number, activated), up)| *number = activated * up);
    }
}
