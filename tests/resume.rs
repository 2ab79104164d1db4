//! A run that was stopped and resumed is the run that never stopped, byte for byte: weights, optimizer, codes, progress, logs.
#![cfg(all(unix, feature = "torch"))]

mod tiny;

use bitnet::config::Overrides;
use bitnet::run::{Manifest, MetricsRow, Observer, RunDirectory, StopReason, StopSignal};
use bitnet::storage::DISK;
use bitnet::train::{Ending, Launch};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tiny::{Runs, assert_same, events, experiment, finish, num_steps, stderr, stdout, stop_after};

/// Initial weights come from libtorch's one generator: trainers in one process take turns.
static ONE_TRAINER: Mutex<()> = Mutex::new(());

/// Asks for a stop after some step.
struct StopAt {
    stop: StopSignal,
    step: Option<u64>,
}

impl Observer for StopAt {
    fn stepped(&mut self, row: &MetricsRow, _loss_average: f64) {
        if Some(row.step) == self.step {
            self.stop.request(StopReason::Interrupt);
        }
    }
}

/// Trains run `id` in this process, to the end or to `stop_at`.
fn train(runs: &Runs, id: &str, set: &[&str], is_resumed: bool, stop_at: Option<u64>) -> Ending {
    let _turn = ONE_TRAINER.lock().unwrap_or_else(PoisonError::into_inner);
    tch::set_num_threads(1);
    let overrides = Overrides { set: set.iter().map(ToString::to_string).collect(), ..Overrides::default() };
    let launch = match is_resumed {
        true => Launch::resume(&DISK, runs.path(), id, Some(&experiment()), &Overrides::default()),
        false => Launch::create(&DISK, runs.path(), Some(id), &experiment(), &overrides),
    };
    let stop = StopSignal::default();
    launch.unwrap().run(stop.clone(), &mut StopAt { stop, step: stop_at }).unwrap()
}

#[track_caller]
fn stopping_at_any_step_changes_nothing(set: &[&str], stops: &[u64]) {
    let runs = Runs::new();
    assert_eq!(train(&runs, "undisturbed", set, false, None), Ending::Finished);
    for stop in stops {
        let id = format!("stopped-at-{stop}");
        assert_eq!(train(&runs, &id, set, false, Some(*stop)), Ending::Stopped(StopReason::Interrupt));
        assert_eq!(num_steps(&runs.run(&id)) as u64, *stop);
        assert_eq!(train(&runs, &id, set, true, None), Ending::Finished);
        assert_same(&runs.run(&id), &runs.run("undisturbed"));
    }
}

#[test]
fn stopping_at_any_step_in_float32_changes_nothing() {
    // 7: evaluated; 10: saved; 11: sampled; 35: evaluated and codes recorded; 59: one step is left.
    stopping_at_any_step_changes_nothing(&[], &[1, 7, 10, 11, 23, 35, 59]);
}

#[test]
fn stopping_in_bfloat16_with_accumulation_changes_nothing() {
    stopping_at_any_step_changes_nothing(&["precision=bfloat16", "train.accumulation_steps=3"], &[9, 31]);
}

#[test]
fn stopping_a_full_precision_run_with_an_untied_head_changes_nothing() {
    let set = ["model.bit_linear.weights=none", "model.bit_linear.activations=none", "model.tie_word_embeddings=false"];
    stopping_at_any_step_changes_nothing(&set, &[13]);
}

#[test]
fn stopping_while_quantizers_are_blended_in_changes_nothing() {
    stopping_at_any_step_changes_nothing(&["train.schedule.quantization_blend_steps=20"], &[7, 20, 23]);
}

#[test]
fn stopping_a_run_with_latent_attention_changes_nothing() {
    let sizes = "q_lora_rank: 12, kv_lora_rank: 8, qk_nope_head_dim: 8, qk_rope_head_dim: 4, v_head_dim: 10";
    let attention = format!("model.attention={{latent: {{{sizes}}}}}");
    stopping_at_any_step_changes_nothing(&[&attention, "model.num_key_value_heads=2"], &[11, 30]);
}

#[test]
fn stopping_at_every_tenth_step_changes_nothing() {
    let runs = Runs::new();
    train(&runs, "undisturbed", &[], false, None);
    train(&runs, "often", &[], false, Some(4));
    for stop in [14, 24, 34, 44, 54] {
        train(&runs, "often", &[], true, Some(stop));
    }
    assert_eq!(train(&runs, "often", &[], true, None), Ending::Finished);
    assert_same(&runs.run("often"), &runs.run("undisturbed"));
}

#[test]
fn a_signal_before_the_first_step_leaves_a_run_that_can_be_resumed() {
    let runs = Runs::new();
    train(&runs, "undisturbed", &[], false, None);
    {
        let _turn = ONE_TRAINER.lock().unwrap_or_else(PoisonError::into_inner);
        let launch = Launch::create(&DISK, runs.path(), Some("early"), &experiment(), &Overrides::default()).unwrap();
        let stop = StopSignal::default();
        stop.request(StopReason::Terminate);
        assert_eq!(launch.run(stop, &mut bitnet::run::Silent).unwrap(), Ending::Stopped(StopReason::Terminate));
    }
    assert_eq!(num_steps(&runs.run("early")), 0);
    assert_eq!(train(&runs, "early", &[], true, None), Ending::Finished);
    assert_same(&runs.run("early"), &runs.run("undisturbed"));
}

const LONG: [&str; 2] = ["--num-steps", "400"];
/// Wide enough that libtorch gives every thread a part of each operation.
const WIDE: [&str; 10] = [
    "--num-steps",
    "24",
    "--batch-size",
    "64",
    "--set",
    "model.hidden_size=128",
    "--set",
    "model.intermediate_size=512",
    "--precision",
    "bfloat16",
];

/// `train` as [`tiny`] has it, with more threads than one.
fn with_two_threads(mut command: std::process::Command) -> std::process::Command {
    command.env("OMP_NUM_THREADS", "2");
    command
}

#[test]
fn stopping_a_process_with_two_threads_and_wide_matrices_changes_nothing() {
    let runs = Runs::new();
    finish(with_two_threads(runs.start("undisturbed", &WIDE)), 0);
    let caught = (0..50).map(|attempt| format!("attempt-{attempt}")).find(|id| {
        let output = stop_after(&runs.run(id), with_two_threads(runs.start(id, &WIDE)), 5, &["INT"]);
        output.is_some()
    });
    let id = caught.unwrap();
    assert!(num_steps(&runs.run(&id)) < 24);
    finish(with_two_threads(runs.resume(&id, &[])), 0);
    assert_same(&runs.run(&id), &runs.run("undisturbed"));
}

/// Stops process after process until one was caught before its end, resumes it, and compares it with one that nobody stopped.
fn a_process_stopped_by(signal: &str, has_ended_well: impl Fn(&std::process::Output) -> bool) {
    let runs = Runs::new();
    finish(runs.start("undisturbed", &LONG), 0);
    let caught = (0..50).map(|attempt| format!("attempt-{attempt}")).find(|id| {
        let output = stop_after(&runs.run(id), runs.start(id, &LONG), 40, &[signal]);
        output.is_some_and(|output| {
            assert!(has_ended_well(&output), "{:?}\n{}", output.status, stderr(&output));
            true
        })
    });
    let id = caught.unwrap();
    assert!(num_steps(&runs.run(&id)) < 400);
    finish(runs.resume(&id, &[]), 0);
    assert_same(&runs.run(&id), &runs.run("undisturbed"));
}

#[test]
fn a_process_stopped_by_sigint_goes_on_as_if_it_had_not() {
    a_process_stopped_by("INT", |output| output.status.code() == Some(0));
}

#[test]
fn a_process_stopped_by_sigterm_goes_on_as_if_it_had_not() {
    a_process_stopped_by("TERM", |output| output.status.code() == Some(75));
}

#[test]
fn a_process_stopped_by_sigkill_goes_on_as_if_it_had_not() {
    a_process_stopped_by("KILL", |output| output.status.signal() == Some(9));
}

#[test]
fn a_run_id_that_exists_is_refused_and_nothing_is_overwritten() {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "10"]), 0);
    let before = files_of(&runs);
    let output = finish(runs.start("mine", &["--num-steps", "20"]), 2);
    assert!(stderr(&output).contains("exists already"), "{}", stderr(&output));
    assert!(stderr(&output).contains("--run-id mine --resume"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
    assert!(before == files_of(&runs));
}

#[test]
fn resuming_a_finished_run_does_nothing_and_says_so() {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "10"]), 0);
    let before = files_of(&runs);
    let output = finish(runs.resume("mine", &[]), 0);
    assert!(stderr(&output).contains("nothing to do: mine has taken all its steps"), "{}", stderr(&output));
    assert!(before == files_of(&runs));
}

#[test]
fn an_unknown_run_cannot_be_resumed() {
    let runs = Runs::new();
    let output = finish(runs.resume("absent", &[]), 2);
    assert!(stderr(&output).contains("there is no run \"absent\""), "{}", stderr(&output));
    assert!(stderr(&output).contains("hint: "), "{}", stderr(&output));
    assert!(!runs.run("absent").path().exists());
}

#[test]
fn a_run_whose_creation_was_cut_short_is_told_from_one_that_never_was() {
    let runs = Runs::new();
    fs::create_dir(runs.run("half").path()).unwrap();
    let output = finish(runs.resume("half", &[]), 2);
    assert!(stderr(&output).contains("remove"), "{}", stderr(&output));
}

#[test]
fn flags_that_would_change_what_a_checkpoint_means_are_refused() {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "10"]), 0);
    let before = files_of(&runs);
    let flags: [(&[&str], &str); 6] = [
        (&["--batch-size", "8"], "train.batch_size"),
        (&["--seq-len", "20"], "train.seq_len"),
        (&["--seed", "8"], "seed"),
        (&["--set", "model.num_hidden_layers=3"], "model.num_hidden_layers"),
        (&["--set", "data.arithmetic.largest_operand=19"], "data.arithmetic.largest_operand"),
        (&["--set", "train.accumulation_steps=2"], "train.accumulation_steps"),
    ];
    for (flags, key) in flags {
        let output = finish(runs.resume("mine", &[&["--num-steps", "20"], flags].concat()), 2);
        assert!(stderr(&output).contains(&format!("`{key}` cannot change")), "{}", stderr(&output));
        assert!(before == files_of(&runs), "{flags:?} changed the run");
    }
}

/// Puts `new` into the place of `old` in the run's config.yaml.
fn edit_config(run: &RunDirectory, old: &str, new: &str) {
    let text = fs::read_to_string(run.config_path()).unwrap();
    assert_eq!(text.matches(old).count(), 1, "{old:?} in {text}");
    fs::write(run.config_path(), text.replace(old, new)).unwrap();
}

#[test]
fn a_config_changed_by_hand_is_refused_as_the_flag_is_and_the_keys_are_named() {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "10"]), 0);
    let original = fs::read_to_string(runs.run("mine").config_path()).unwrap();
    let edits = [
        ("\nseed: 7\n", "\nseed: 8\n", "`seed` is 8 and was 7"),
        ("batch_size: 4", "batch_size: 8", "`train.batch_size` is 8 and was 4"),
        ("seq_len: 16", "seq_len: 20", "`train.seq_len` is 20 and was 16"),
        ("rope_theta: 10000.0", "rope_theta: 500000.0", "`model.rope_theta` is 500000.0 and was 10000.0"),
        ("sub_norms: true", "sub_norms: false", "`model.sub_norms` is false and was true"),
        ("weights: ternary_absmean", "weights: none", "`model.bit_linear.weights` is \"none\" and was \"ternary_absmean\""),
    ];
    for (old, new, said) in edits {
        edit_config(&runs.run("mine"), old, new);
        let before = files_of(&runs);
        for flags in [&[][..], &["--num-steps", "20"]] {
            let output = stderr(&finish(runs.resume("mine", flags), 2));
            assert!(output.contains("config.yaml was changed by hand: ") && output.contains(said), "{output}");
            assert!(output.contains("hint: write the old values back") && output.contains("--init-from"), "{output}");
            assert!(before == files_of(&runs), "{new} changed the run");
        }
        fs::write(runs.run("mine").config_path(), &original).unwrap();
    }
    finish(runs.resume("mine", &["--num-steps", "20"]), 0);
}

#[test]
fn what_may_change_by_hand_is_taken_with_a_word_and_a_comment_without() {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "10"]), 0);
    edit_config(&runs.run("mine"), "num_steps: 10", "num_steps: 12 # two more");
    let output = stderr(&finish(runs.resume("mine", &[]), 0));
    assert!(output.contains("config.yaml was changed by hand: `train.num_steps` is 12 and was 10"), "{output}");
    assert_eq!(num_steps(&runs.run("mine")), 12);
    edit_config(&runs.run("mine"), "num_steps: 12", "num_steps: 12 # all");
    let output = stderr(&finish(runs.resume("mine", &["--num-steps", "14"]), 0));
    assert!(!output.contains("by hand"), "{output}");
}

#[test]
fn flags_of_a_launch_that_saved_nothing_are_no_change_by_hand() {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "10"]), 0);
    let run = runs.run("mine");
    finish(runs.resume("mine", &["--num-steps", "12"]), 0);
    fs::remove_dir_all(run.checkpoints_dir().join("step-000012")).unwrap();
    let output = stderr(&finish(runs.resume("mine", &[]), 0));
    assert!(output.contains("resuming after step 10") && !output.contains("by hand"), "{output}");
}

#[test]
fn a_manifest_that_is_empty_damaged_or_gone_is_said_and_written_anew() {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "10"]), 0);
    let path = runs.run("mine").manifest_path();
    let spoil: [fn(&Path); 3] =
        [|path| fs::write(path, "").unwrap(), |path| fs::write(path, "run_id: [").unwrap(), |path| fs::remove_file(path).unwrap()];
    for (spoil, num_steps) in spoil.into_iter().zip(["11", "12", "13"]) {
        spoil(&path);
        let output = stderr(&finish(runs.resume("mine", &["--num-steps", num_steps]), 0));
        assert!(output.contains("warning: ") && output.contains("manifest.yaml") && output.contains("written anew"), "{output}");
        assert_eq!(Manifest::read(&DISK, &runs.run("mine")).unwrap().launches.len(), 1);
    }
}

#[test]
fn a_run_is_resumed_by_the_start_of_its_id_its_path_or_as_the_newest_of_its_experiment() {
    let runs = Runs::new();
    finish(runs.start("first-run", &["--num-steps", "10"]), 0);
    finish(runs.start("second-run", &["--num-steps", "10"]), 0);
    let tiny = experiment();
    let path = runs.run("first-run").path().display().to_string();
    for (arguments, id) in [
        (vec!["--run-id", "fir", "--resume", "--num-steps", "11"], "first-run"),
        (vec!["--run-id", &path, "--resume", "--num-steps", "12"], "first-run"),
        (vec![tiny.to_str().unwrap(), "--run-id", "second", "--resume", "--num-steps", "13"], "second-run"),
    ] {
        let output = finish(runs.command(&arguments), 0);
        assert_eq!(stdout(&output), format!("{}\n", runs.run(id).path().display()), "{arguments:?}");
    }
    let newest = |arguments: &[&str]| stdout(&finish(runs.command(&[arguments, &["--resume", "--num-steps", "14"]].concat()), 0));
    assert!([newest(&[]), newest(&[tiny.to_str().unwrap()])].iter().all(|path| path.ends_with("-run\n")));
    let output = stderr(&finish(runs.command(&["arithmetic", "--resume"]), 2));
    assert!(output.contains("no run of the experiment `arithmetic`") && output.contains("hint: "), "{output}");
    let output = stderr(&finish(runs.command(&["--run-id", "", "--resume"]), 2));
    assert!(output.contains("there is no run"), "{output}");
}

#[test]
fn fewer_steps_than_were_taken_are_refused() {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "10"]), 0);
    let before = files_of(&runs);
    let output = finish(runs.resume("mine", &["--num-steps", "5"]), 2);
    assert!(stderr(&output).contains("has taken 10 steps, more than train.num_steps = 5"), "{}", stderr(&output));
    assert!(before == files_of(&runs));
}

#[test]
fn another_experiment_is_refused_and_none_is_needed() {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "10"]), 0);
    let output = finish(runs.command(&["arithmetic", "--run-id", "mine", "--resume"]), 2);
    assert!(stderr(&output).contains("run mine is of the experiment `tiny`, not of `arithmetic`"), "{}", stderr(&output));
    let output = finish(runs.command(&["--run-id", "mine", "--resume", "--num-steps", "12"]), 0);
    assert!(stderr(&output).contains("resuming after step 10"), "{}", stderr(&output));
}

#[test]
fn more_steps_make_a_finished_run_longer() {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "20"]), 0);
    finish(runs.resume("mine", &["--num-steps", "30"]), 0);
    let run = runs.run("mine");
    assert_eq!(num_steps(&run), 30);
    assert!(fs::read_to_string(run.config_path()).unwrap().contains("num_steps: 30"));
    let launches = Manifest::read(&DISK, &run).unwrap().launches;
    assert_eq!(launches.iter().map(|launch| launch.resumed_from_step).collect::<Vec<_>>(), [None, Some(20)]);
    assert_eq!(events(&run).last().unwrap().step, 30);
}

/// Every file with its content; but for the lock, which names the last process.
fn files_of(runs: &Runs) -> Vec<(String, Vec<u8>)> {
    fn walk(dir: &std::path::Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => walk(&entry, found),
                false if entry.ends_with("run.lock") => {}
                false => found.push((entry.display().to_string(), fs::read(&entry).unwrap())),
            }
        }
    }
    let mut found = Vec::new();
    walk(runs.path(), &mut found);
    found.sort();
    found
}
