//! Prompts continued while training: each in each of the config's sampling modes. How a token is chosen is left to `sampling`.

use super::trainer::Trainer;
use crate::Result;
use crate::config::SamplingMode;
use crate::model::{Sampler, SamplingOptions, generate};
use crate::random::Random;
use crate::run::SampleRow;

impl Trainer<'_> {
    /// Continues the prompts where the cadence says so, mode by mode.
    pub(super) fn sample(&mut self) -> Result<()> {
        if !self.is_due(self.experiment.sampling.every, self.progress.step) {
            return Ok(());
        }
        let sampling = &self.experiment.sampling;
        let pairs = sampling.modes.iter().flat_map(|mode| sampling.prompts.iter().map(move |prompt| (mode, prompt)));
        let rows = pairs.map(|(mode, prompt)| self.continued(prompt, mode)).collect::<Result<Vec<_>>>()?;
        let written = self.run.logs.record_samples(&rows);
        self.note_failed_row(written);
        self.observer.sampled(&rows);
        Ok(())
    }

    fn continued(&self, prompt: &str, mode: &SamplingMode) -> Result<SampleRow> {
        let context = self.experiment.model.max_position_embeddings;
        let options = options(self.experiment.seed, self.progress.step, prompt, mode);
        let mut ids = Vec::new();
        generate(
            &self.network.decoder,
            &self.plan.tokenizer.encode(prompt)?,
            context,
            self.experiment.sampling.max_new_tokens,
            &mut Sampler::new(options),
            |id| {
                ids.push(id);
                !self.plan.endings.contains(&id)
            },
        )?;
        let completion = self.plan.tokenizer.decode(&ids);
        Ok(SampleRow { step: self.progress.step, prompt: prompt.to_owned(), mode: mode.name.clone(), completion })
    }
}

/// The choice of `mode`, with a seed of its own for each step and prompt: a resumed run repeats it, and no other prompt or mode, added or
/// removed, changes it.
fn options(seed: u64, step: u64, prompt: &str, mode: &SamplingMode) -> SamplingOptions {
    let purpose = format!("sample of mode {:?}, prompt {prompt:?}", mode.name);
    let seed = Random::derive(seed, &purpose, step).next_u64();
    SamplingOptions { temperature: mode.temperature, top_k: mode.top_k, top_p: mode.top_p, seed, ..SamplingOptions::GREEDY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_depends_on_seed_step_prompt_and_mode() {
        let mode = |name: &str| SamplingMode { name: name.into(), temperature: 0.9, top_k: 3, top_p: 0.95 };
        let first = options(1, 2, "a", &mode("hot"));
        assert_eq!((first.temperature, first.top_k, first.top_p), (0.9, 3, 0.95));
        assert_eq!(first, options(1, 2, "a", &mode("hot")));
        let others = [options(2, 2, "a", &mode("hot")), options(1, 3, "a", &mode("hot")), options(1, 2, "b", &mode("hot"))];
        assert!(others.iter().chain([&options(1, 2, "a", &mode("cold"))]).all(|other| other.seed != first.seed));
    }
}
