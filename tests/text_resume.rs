//! Training on text that was prepared as several shuffled shards: a run that is killed and resumed sees the batches that it would have seen.
#![cfg(all(unix, feature = "torch"))]

mod tiny;

use bitnet::config::{Experiment, Overrides, resolve};
use bitnet::data::documents::{DocumentSettings, Sources};
use bitnet::data::prepare::{Outcome, PrepareSettings, prepare};
use bitnet::data::{Corpus, Prepared, Split, Windows};
use bitnet::random::Random;
use bitnet::run::{Observer, Silent, StopSignal};
use bitnet::storage::DISK;
use bitnet::tokenizer::Tokenizer;
use bitnet::train::{Ending, Launch};
use std::fmt::Write;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tiny::{Runs, assert_same, experiment, finish, num_steps, stop_after};

/// Small enough that the corpus becomes several shards.
const UNIT_BYTES: u64 = 2000;
/// Four sequences each: more than the corpus has, so that there is more than one epoch.
const NUM_STEPS: u64 = 400;

/// A corpus, prepared, and the flags of a run on it.
struct Text {
    dir: tempfile::TempDir,
    set: Vec<String>,
}

impl Text {
    fn prepared() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let stories = dir.path().join("stories.jsonl");
        fs::write(&stories, stories_of(80)).unwrap();
        let text = format!(
            "data={{text: {{prepared_in: {0}/prepared, source: {{files: [{1}]}}, text_field: text, document_separator: null, \
             held_out: {{documents_percent: 10}}, begin_with_bos: true, end_with_eos: true, bad_records: stop}}}}",
            dir.path().display(),
            stories.display()
        );
        let steps = format!("train.num_steps={NUM_STEPS}");
        let set = vec![
            text,
            format!("tokenizer={{file: {}/tokenizer.json}}", dir.path().display()),
            "model.vocab_size=64".into(),
            "sampling.prompts=[the cat, a]".into(),
            steps,
        ];
        let text = Self { dir, set };
        text.prepare(&stories);
        text
    }

    fn overrides(&self) -> Overrides {
        Overrides { set: self.set.clone(), ..Overrides::default() }
    }

    fn experiment(&self) -> Experiment {
        resolve(experiment(), &self.overrides()).unwrap().experiment
    }

    /// As `prepare-data` does, but for the size of a unit.
    fn prepare(&self, stories: &Path) {
        let tokenizer = Tokenizer::characters_of([Ok(fs::read_to_string(stories).unwrap())]).unwrap();
        fs::write(self.dir.path().join("tokenizer.json"), tokenizer.to_json().unwrap()).unwrap();
        let experiment = self.experiment();
        let bitnet::config::DataConfig::Text(text) = &experiment.data else { panic!("{:?}", experiment.data) };
        let settings = PrepareSettings {
            documents: DocumentSettings { text_field: text.text_field.clone(), document_separator: None, bad_records: text.bad_records },
            held_out: text.held_out,
            begin_with: tokenizer.bos_id(),
            end_with: tokenizer.eos_id(),
            unit_bytes: UNIT_BYTES,
        };
        let (sources, directory) = (Sources::find(&[stories.to_owned()]).unwrap(), Corpus::of(&experiment).unwrap().directory().unwrap());
        let outcome = prepare(&settings, &sources, &tokenizer, &directory, 2, &mut |_| {}, &|| false).unwrap();
        let Outcome::Finished(prepared) = outcome else { panic!("{outcome:?}") };
        self.assert_that_order_and_shards_matter(&prepared);
    }

    /// What the tests below stand on.
    fn assert_that_order_and_shards_matter(&self, prepared: &Prepared) {
        let num_shards = prepared.split(Split::Train).shards.len();
        assert!(num_shards > 3, "{num_shards} shards");
        let train = self.experiment().train;
        let windows = Windows::new(prepared.shards(Split::Train).unwrap(), train.seq_len, 7).unwrap();
        let seen = NUM_STEPS * train.batch_size as u64;
        assert!(seen > windows.count() * 3 / 2, "{seen} sequences of {} are no second epoch", windows.count());
        assert_ne!(windows.batch(0, 4).unwrap().inputs, windows.batch(1, 4).unwrap().inputs);
    }
}

fn stories_of(count: u64) -> String {
    const WORDS: [&str; 12] = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "her", "little", "red", "door"];
    let mut lines = String::new();
    for number in 0..count {
        let mut random = Random::derive(3, "story", number);
        let words: Vec<&str> = (0..20 + random.below(20)).map(|_| WORDS[random.below(12) as usize]).collect();
        writeln!(lines, "{}", serde_json::json!({ "text": words.join(" ") + "." })).unwrap();
    }
    lines
}

/// Counts the steps of a process that is asked to stop after one of them.
struct StopAt {
    stop: StopSignal,
    step: Option<u64>,
    losses: Arc<Mutex<Vec<f64>>>,
}

impl Observer for StopAt {
    fn stepped(&mut self, row: &bitnet::run::MetricsRow, _loss_average: f64) {
        self.losses.lock().unwrap().push(row.loss);
        if Some(row.step) == self.step {
            self.stop.request(bitnet::run::StopReason::Interrupt);
        }
    }
}

/// Trains run `id` in this process, to the end or to `stop_at`; the losses of its steps.
fn train(runs: &Runs, id: &str, text: &Text, is_resumed: bool, stop_at: Option<u64>) -> Vec<f64> {
    tch::set_num_threads(1);
    let launch = match is_resumed {
        true => Launch::resume(&DISK, runs.path(), id, Some(&experiment()), &Overrides::default()),
        false => Launch::create(&DISK, runs.path(), Some(id), &experiment(), &text.overrides()),
    };
    let (stop, losses) = (StopSignal::default(), Arc::new(Mutex::new(Vec::new())));
    let ending = launch.unwrap().run(stop.clone(), &mut StopAt { stop, step: stop_at, losses: Arc::clone(&losses) }).unwrap();
    assert_eq!(ending == Ending::Finished, stop_at.is_none());
    let losses = losses.lock().unwrap();
    losses.clone()
}

#[test]
fn a_run_stopped_in_any_epoch_sees_the_batches_that_it_would_have_seen() {
    let (text, runs) = (Text::prepared(), Runs::new());
    let undisturbed = train(&runs, "undisturbed", &text, false, None);
    assert_eq!(undisturbed.len() as u64, NUM_STEPS);
    assert!(undisturbed[NUM_STEPS as usize - 1] < 0.7 * undisturbed[0], "it learned nothing: {undisturbed:?}");
    for stop in [1, 149, 150, 263, 399] {
        let id = format!("stopped-at-{stop}");
        let mut losses = train(&runs, &id, &text, false, Some(stop));
        losses.extend(train(&runs, &id, &text, true, None));
        assert_eq!(losses, undisturbed, "stopped after step {stop}");
        assert_same(&runs.run(&id), &runs.run("undisturbed"));
    }
}

#[test]
fn a_turned_bit_in_a_shard_stops_training_with_the_file_and_the_cure() {
    let (text, runs) = (Text::prepared(), Runs::new());
    let directory = Corpus::of(&text.experiment()).unwrap().directory().unwrap();
    let path = directory.join("train-00001.tokens");
    let mut content = fs::read(&path).unwrap();
    content[100] ^= 1;
    fs::write(&path, &content).unwrap();
    let run = |is_resumed: bool| {
        let launch = match is_resumed {
            true => Launch::resume(&DISK, runs.path(), "mine", Some(&experiment()), &Overrides::default()),
            false => Launch::create(&DISK, runs.path(), Some("mine"), &experiment(), &text.overrides()),
        };
        launch.unwrap().run(StopSignal::default(), &mut Silent)
    };
    for is_resumed in [false, true] {
        let error = run(is_resumed).unwrap_err();
        let expected = format!("the token shard {} is damaged: its hash is not the recorded one", path.display());
        let message = error.to_string();
        assert!(error.exit_status() == 2 && message.contains(&expected) && message.contains("hint: `just prepare-data"), "{message}");
    }
    content[100] ^= 1;
    fs::write(&path, &content).unwrap();
    assert_eq!(run(true).unwrap(), Ending::Finished);
}

#[test]
fn a_process_that_is_killed_goes_on_as_if_it_had_not_been() {
    let (text, runs) = (Text::prepared(), Runs::new());
    let flags: Vec<&str> = text.set.iter().flat_map(|value| ["--set", value]).collect();
    finish(runs.start("undisturbed", &flags), 0);
    let was_killed = |id: &String| {
        let output = stop_after(&runs.run(id), runs.start(id, &flags), 40, &["KILL"]);
        output.is_some_and(|output| output.status.signal() == Some(9))
    };
    let id = (0..50).map(|attempt| format!("attempt-{attempt}")).find(was_killed).unwrap();
    assert!((num_steps(&runs.run(&id)) as u64) < NUM_STEPS);
    finish(runs.resume(&id, &[]), 0);
    assert_same(&runs.run(&id), &runs.run("undisturbed"));
}
