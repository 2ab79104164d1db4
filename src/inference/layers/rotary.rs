//! Rotary position embedding in the layout of split halves: feature i turns with feature i + size/2. Angles are made for the positions of a
//! batch as they come, so a long context costs nothing before it is used.

/// Cosines and sines of the rows of a batch.
#[derive(Debug)]
pub(super) struct Rotary {
    frequencies: Vec<f32>,
    cosines: Vec<f32>, // [rows, size / 2]
    sines: Vec<f32>,
}

impl Rotary {
    /// For heads of which `size` features turn; the frequencies are `theta^(-2i / size)` (Su et al. 2021, section 3.2.2).
    pub fn new(size: usize, theta: f64) -> Self {
        // As float32 throughout, like every implementation that a model may have been trained with: far positions depend on it.
        let frequency = |index: usize| f64::from(theta as f32).powf(-f64::from(2.0 * index as f32 / size as f32)) as f32;
        Self { frequencies: (0..size / 2).map(frequency).collect(), cosines: Vec::new(), sines: Vec::new() }
    }

    /// From now on row i of a batch is at the i-th of `positions`.
    pub fn set_positions(&mut self, positions: impl Iterator<Item = usize>) {
        self.cosines.clear();
        self.sines.clear();
        for position in positions {
            for frequency in &self.frequencies {
                let (sine, cosine) = f64::from(position as f32 * frequency).sin_cos();
                self.cosines.push(cosine as f32);
                self.sines.push(sine as f32);
            }
        }
    }

    /// Turns `head`, as wide as the features that turn, of row `row`.
    pub fn rotate(&self, row: usize, head: &mut [f32]) {
        let half = self.frequencies.len();
        let (first, second) = head.split_at_mut(half);
        let turns = self.cosines[row * half..].iter().zip(&self.sines[row * half..]);
        for ((first, second), (cosine, sine)) in first.iter_mut().zip(second).zip(turns) {
            (*first, *second) = (*first * cosine - *second * sine, *second * cosine + *first * sine);
        }
    }
}
