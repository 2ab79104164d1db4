//! The weighted mean of rows by the softmax of their scores, in one pass over the rows: the largest score so far scales what has been added
//! up (Milakov and Gimelshein 2018). The order of the sums depends on the number of rows alone.

use crate::inference::number::{Number, add_scaled};

/// Rows whose scores are computed before their values are read.
const BLOCK: usize = 64;
/// Rows that are added at a time.
const TOGETHER: usize = 4;

/// `mixed = Σ softmax(score)[i] · values[i]` over `count` rows as wide as `mixed`.
pub(super) fn attend<T: Number>(count: usize, score: impl Fn(usize) -> f32, values: &[T], mixed: &mut [f32]) {
    let (mut largest, mut total) = (f32::NEG_INFINITY, 0.0);
    let mut weights = [0f32; BLOCK];
    mixed.fill(0.0);
    for start in (0..count).step_by(BLOCK) {
        let weights = &mut weights[..BLOCK.min(count - start)];
        weights.iter_mut().enumerate().for_each(|(index, weight)| *weight = score(start + index));
        let new_largest = weights.iter().copied().fold(largest, f32::max);
        if new_largest > largest {
            let shrink = (largest - new_largest).exp();
            total *= shrink;
            mixed.iter_mut().for_each(|number| *number *= shrink);
            largest = new_largest;
        }
        for weight in weights.iter_mut() {
            *weight = (*weight - largest).exp();
            total += *weight;
        }
        add_rows(mixed, weights, &values[start * mixed.len()..]);
    }
    let share = 1.0 / total;
    mixed.iter_mut().for_each(|number| *number *= share);
}

/// `mixed += Σ weights[i] · rows[i]`.
fn add_rows<T: Number>(mixed: &mut [f32], weights: &[f32], rows: &[T]) {
    let width = mixed.len();
    let (groups, rest) = weights.as_chunks::<TOGETHER>();
    for (weights, rows) in groups.iter().zip(rows.chunks_exact(TOGETHER * width)) {
        let (first, rows) = rows.split_at(width);
        let (second, rows) = rows.split_at(width);
        let (third, fourth) = rows.split_at(width);
        for ((((sum, a), b), c), d) in mixed.iter_mut().zip(first).zip(second).zip(third).zip(fourth) {
            *sum += weights[0] * a.to_f32() + weights[1] * b.to_f32() + (weights[2] * c.to_f32() + weights[3] * d.to_f32());
        }
    }
    let rows = &rows[groups.len() * TOGETHER * width..];
    rest.iter().zip(rows.chunks_exact(width)).for_each(|(weight, row)| add_scaled(mixed, row, *weight));
}
