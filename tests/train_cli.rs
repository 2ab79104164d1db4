//! What `train` says and leaves behind, before, during and after a run.
#![cfg(all(unix, feature = "torch"))]

mod tiny;

use bitnet::config::{Experiment, Overrides, load};
use bitnet::run::{CheckpointLabel, CheckpointStore, Event, Manifest, MetricsRow, NewFile, RunDirectory, read_log};
use bitnet::storage::DISK;
use std::fs;
use std::process::Stdio;
use tiny::{Runs, events, experiment, finish, num_steps, stderr, stdout, wait};

#[test]
fn a_dry_run_prints_a_config_that_loads_back_and_leaves_no_run() {
    let runs = Runs::new();
    let output = finish(runs.start("mine", &["--dry-run", "--set", "train.optimizer.beta2=0.98"]), 0);
    let set = vec!["train.optimizer.beta2=0.98".to_owned()];
    let expected = load(experiment(), &Overrides { set, ..Overrides::default() }).unwrap();
    assert_eq!(Experiment::from_yaml(&stdout(&output), "stdout").unwrap(), expected);
    for word in ["parameters", "19,808", "tokens", "3,840", "memory"] {
        assert!(stderr(&output).contains(word), "{word}: {}", stderr(&output));
    }
    assert_eq!(fs::read_dir(runs.path()).unwrap().count(), 0);
}

#[test]
fn a_dry_run_warns_of_a_need_that_no_machine_has_and_names_what_does_not_fit_the_experiment() {
    let runs = Runs::new();
    let said = |flags: &[&str], status| stderr(&finish(runs.start("mine", &[&["--dry-run"], flags].concat()), status));
    let vast = said(&["--set", "model.hidden_size=262144"], 0);
    assert!(!cfg!(target_os = "linux") || vast.contains("warning: this needs ") && vast.contains("GiB of memory, and this"), "{vast}");
    assert!(!said(&[], 0).contains("warning: this needs"));
    let text = said(&["--data", "x.txt"], 2);
    assert!(text.contains("--data") && text.contains("the experiment `tiny` learns no text") && text.contains("hint: "), "{text}");
    let negative = said(&["--learning-rate", "-1"], 2);
    assert!(negative.contains("--learning-rate -1") && !negative.contains("-- -1"), "{negative}");
}

#[test]
fn flags_and_set_become_the_config_of_the_run() {
    let runs = Runs::new();
    let flags = ["--num-steps", "3", "--batch-size", "2", "--seq-len", "20", "--learning-rate", "1e-3", "--seed", "9"];
    let more = ["--precision", "bfloat16", "--device", "cpu", "--set", "sampling.prompts=[\"1 + 1 =\"]", "--set", "checkpoints.every=2"];
    let output = finish(runs.start("mine", &[&flags[..], &more].concat()), 0);
    assert!(stderr(&output).contains("warmup_steps is 0 instead of 5"), "{}", stderr(&output));
    let config = load(runs.run("mine").config_path(), &Overrides::default()).unwrap();
    assert_eq!((config.train.num_steps, config.train.batch_size, config.train.seq_len, config.seed), (3, 2, 20, 9));
    assert_eq!((config.train.optimizer.learning_rate, config.checkpoints.every), (1e-3, 2));
    assert_eq!(config.sampling.prompts, ["1 + 1 ="]);
    let rows = read_log::<MetricsRow>(&DISK, &runs.run("mine").metrics_path()).unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.tokens).collect::<Vec<_>>(), [40, 80, 120]);
}

#[test]
fn what_the_user_got_wrong_ends_with_2_a_hint_and_no_run() {
    let runs = Runs::new();
    let bad: [(&[&str], &[&str]); 9] = [
        (&["--set", "train.optimiser.beta2=0.9"], &["train.optimiser", "the nearest key is `train.optimizer`"]),
        (&["--set", "train.num_steps=many"], &["--set train.num_steps=many"]),
        (&["--set", "beta2"], &["expected KEY=VALUE", "hint: "]),
        (&["--num-steps", "0"], &["--num-steps 0", "hint: "]),
        (&["--seq-len", "64"], &["--seq-len 64", "max_position_embeddings = 32", "hint: "]),
        (&["--num-steps", "5", "--set", "train.num_steps=6"], &["set twice", "hint: "]),
        (&["--device", "cuda"], &["device: cuda is not available here", "hint: "]),
        (&["--run-id", "../mine"], &["\"../mine\" cannot be a run id", "hint: "]),
        (&["--precision", "int1"], &["--precision", "float32"]),
    ];
    for (flags, said) in bad {
        if flags == ["--device", "cuda"] && tch::Cuda::is_available() {
            continue;
        }
        let output = finish(runs.command(&[&[experiment().to_str().unwrap()], flags].concat()), 2);
        for words in said {
            assert!(stderr(&output).contains(words), "{flags:?} should say {words:?}: {}", stderr(&output));
        }
        assert_eq!(stdout(&output), "");
        assert_eq!(fs::read_dir(runs.path()).unwrap().count(), 0, "{flags:?} left something");
    }
}

#[test]
fn a_mistyped_key_in_the_file_is_named_with_its_line() {
    let runs = Runs::new();
    let text = fs::read_to_string(experiment().join("config.yaml")).unwrap().replace("  batch_size:", "  batch_sise:");
    let line = 1 + text.lines().position(|line| line.contains("batch_sise")).unwrap();
    let other = Runs::new();
    let path = other.path().join("mistyped.yaml");
    fs::write(&path, text).unwrap();
    let output = finish(runs.command(&[path.to_str().unwrap()]), 2);
    assert!(stderr(&output).contains(&format!("mistyped.yaml:{line}:")), "{}", stderr(&output));
    assert!(stderr(&output).contains("hint: ") && stderr(&output).contains("batch_size"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(runs.path()).unwrap().count(), 0);
}

#[test]
fn an_experiment_has_to_be_named_and_resume_needs_a_run() {
    let runs = Runs::new();
    finish(runs.command(&[]), 2);
    finish(runs.command(&[experiment().to_str().unwrap(), "--resume"]), 2);
    let output = finish(runs.command(&["arithmetik"]), 2);
    assert!(stderr(&output).contains("did you mean `arithmetic`?"), "{}", stderr(&output));
}

#[test]
fn the_same_command_with_continue_begins_a_run_goes_on_with_it_and_leaves_it_when_it_is_finished() {
    let runs = Runs::new();
    let train = |wanted: &str| {
        let output = finish(runs.start("mine", &["--continue", "--num-steps", wanted]), 0);
        (num_steps(&runs.run("mine")), stderr(&output))
    };
    assert_eq!(train("4").0, 4);
    let (taken, said) = train("6");
    assert!(taken == 6 && said.contains("resuming after step 4"), "{said}");
    let (taken, said) = train("6");
    assert!(taken == 6 && said.contains("nothing to do: mine has taken all its steps"), "{said}");
    let other_state = finish(runs.start("mine", &["--continue", "--seed", "99"]), 2);
    assert!(stderr(&other_state).contains("`seed` cannot change"), "{}", stderr(&other_state));
}

#[test]
fn a_run_without_an_id_is_named_after_parameters_experiment_and_time() {
    let runs = Runs::new();
    let command = || runs.command(&[experiment().to_str().unwrap(), "--num-steps", "2"]);
    // At the same time, too: neither takes the other's name.
    let children = [command().spawn().unwrap(), command().spawn().unwrap()];
    let mut printed = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        // Both may have looked for a free name at the same moment.
        assert!(output.status.success() || stderr(&output).contains("exists already"), "{}", stderr(&output));
        printed.extend(stdout(&output).lines().map(str::to_owned));
    }
    assert!(!printed.is_empty());
    for path in printed {
        let id = RunDirectory::new(&path).id();
        let time = id.strip_prefix("bitnet_20K_tiny_").unwrap_or_else(|| panic!("{id}"));
        assert!(time.parse::<u64>().unwrap() > 1_700_000_000);
    }
}

#[test]
fn stdout_holds_the_path_of_the_run_and_stderr_the_progress() {
    let runs = Runs::new();
    let output = finish(runs.start("mine", &["--num-steps", "12"]), 0);
    assert_eq!(stdout(&output), format!("{}\n", runs.run("mine").path().display()));
    for words in [
        "step 1/12  loss 3.",
        "tok/s  mfu ",
        "eta",
        "step 7  held out:  loss ",
        "step 11  greedy: 2 + 7 =",
        "step 11  hot: 9 / 3 =",
        "step 12/12",
        "finished",
    ] {
        assert!(stderr(&output).contains(words), "{words:?}: {}", stderr(&output));
    }
    assert!(!stderr(&output).contains('\u{1b}'), "no terminal codes where there is no terminal");
}

#[test]
fn config_and_manifest_are_there_before_the_first_event_and_say_what_was_started() {
    let runs = Runs::new();
    let mut command = runs.start("mine", &["--num-steps", "100000"]);
    let mut child = command.spawn().unwrap();
    let run = runs.run("mine");
    assert!(tiny::wait_until(&mut child, || !events(&run).is_empty()));
    assert!(run.config_path().exists());
    let manifest = Manifest::read(&DISK, &run).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let [launch] = &manifest.launches[..] else { panic!("{manifest:?}") };
    assert_eq!((manifest.run_id.as_str(), launch.seed, launch.num_parameters), ("mine", 7, 19_808));
    assert_eq!((launch.device.as_str(), launch.resumed_from_step), ("cpu (1 threads)", None));
    let peak = launch.peak.as_ref().unwrap();
    assert!(peak.flops_per_second > 0.0 && peak.source.starts_with("measured: products of float32 matrices"), "{peak:?}");
    assert!(launch.command.ends_with(&command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>()));
}

#[test]
fn events_tell_the_story_of_a_run() {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "20"]), 0);
    finish(runs.resume("mine", &["--num-steps", "25"]), 0);
    let story = events(&runs.run("mine")).into_iter().map(|row| {
        let kind = match row.event {
            Event::Started { .. } => "started".to_owned(),
            Event::Saved { checkpoint } => checkpoint,
            Event::Finished => "finished".to_owned(),
            other => format!("{other:?}"),
        };
        (row.step, kind)
    });
    let expected = [
        (0, "started"),
        (10, "step-000010"),
        (20, "step-000020"),
        (20, "finished"),
        (20, "started"),
        (25, "step-000025"),
        (25, "finished"),
    ];
    assert_eq!(story.collect::<Vec<_>>(), expected.map(|(step, kind)| (step, kind.to_owned())));
}

#[test]
fn nobody_reading_changes_neither_the_run_nor_its_exit_status() {
    let runs = Runs::new();
    let mut child = runs.start("mine", &["--num-steps", "40"]).spawn().unwrap();
    drop(child.stderr.take());
    drop(child.stdout.take());
    wait(child, 0);
    assert_eq!(num_steps(&runs.run("mine")), 40);
    let mut child = runs.start("mine", &[]).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    wait(child, 2);
    let mut child = runs.start("dry", &["--dry-run"]).spawn().unwrap();
    drop(child.stderr.take());
    drop(child.stdout.take());
    wait(child, 0);
}

#[test]
fn a_run_whose_losses_are_not_finite_ends_with_1_and_keeps_its_checkpoint() {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "10"]), 0);
    let run = runs.run("mine");
    spoil_newest_checkpoint(&run);
    let before = fs::read(run.checkpoints_dir().join("step-000010/model.safetensors")).unwrap();
    let output = finish(runs.resume("mine", &["--num-steps", "60"]), 1);
    assert!(stderr(&output).contains("5 steps in a row had a loss or gradient that is not finite"), "{}", stderr(&output));
    assert!(stderr(&output).contains("hint: lower train.optimizer.learning_rate"), "{}", stderr(&output));
    assert!(stderr(&output).contains("the checkpoint of step 10 is intact"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
    assert_eq!(read_log::<MetricsRow>(&DISK, &run.metrics_path()).unwrap().rows.last().unwrap().skipped_steps, 5);
    assert!(fs::read_to_string(run.train_log_path()).unwrap().contains("step 11 skipped: loss "));
    assert!(matches!(events(&run).last().unwrap().event, Event::Failed { .. }));
    assert_eq!(fs::read(run.checkpoints_dir().join("step-000010/model.safetensors")).unwrap(), before);
}

#[test]
fn a_run_can_begin_with_the_weights_of_another_by_its_name() {
    let runs = Runs::new();
    finish(runs.start("first", &["--num-steps", "10"]), 0);
    finish(runs.start("second", &["--num-steps", "2", "--init-from", "fir"]), 0);
    let folder = runs.run("first").checkpoints_dir().join("step-000010");
    assert_eq!(runs.run("second").read_config().unwrap().init_from, Some(folder.display().to_string()));
    let said = stderr(&finish(runs.start("third", &["--init-from", "nothing-like-it"]), 2));
    assert!(said.contains("there is no run \"nothing-like-it\""), "{said}");
}

#[test]
fn a_run_that_diverged_finishes_and_says_so() {
    let runs = Runs::new();
    let output = finish(runs.start("mine", &["--learning-rate", "9", "--set", "train.schedule.second_stage=null"]), 0);
    assert!(stderr(&output).contains("finished, but it diverged: the loss is "), "{}", stderr(&output));
    assert!(stderr(&output).contains("hint: lower train.optimizer.learning_rate"), "{}", stderr(&output));
    let mut status = std::process::Command::new(env!("CARGO_BIN_EXE_check-status"));
    status.arg("mine").arg("--runs-dir").arg(runs.path());
    let page = stdout(&finish(status, 0));
    assert!(page.contains("diverged") && !page.contains("falling"), "{page}");
}

#[test]
fn the_smoothed_loss_is_one_number_in_checkpoint_and_status() {
    let runs = Runs::new();
    finish(runs.start("mine", &["--num-steps", "12"]), 0);
    let run = runs.run("mine");
    let saved = fs::read_to_string(run.checkpoints_dir().join("step-000012/trainer.json")).unwrap();
    let saved: serde_json::Value = serde_json::from_str(&saved).unwrap();
    let status = bitnet::run::Status::read(&DISK, &run, 0.0).unwrap();
    assert_eq!(saved["loss_average"].as_f64(), status.loss_average);
}

/// Puts finite numbers so large into the first row of the embedding that products with it overflow; the checkpoint is valid.
fn spoil_newest_checkpoint(run: &RunDirectory) {
    let mut store = CheckpointStore::open(&DISK, run.checkpoints_dir(), 2).unwrap();
    let checkpoint = store.load_latest().unwrap().checkpoint.unwrap();
    let names: Vec<String> = checkpoint.files().iter().map(|file| file.name.clone()).collect();
    let mut contents: Vec<Vec<u8>> = names.iter().map(|name| checkpoint.read(&DISK, name).unwrap()).collect();
    let weights = &mut contents[names.iter().position(|name| name == "model.safetensors").unwrap()];
    let header_length = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&weights[8..8 + header_length]).unwrap();
    let start = 8 + header_length + header["model.embed_tokens.weight"]["data_offsets"][0].as_u64().unwrap() as usize;
    for (index, number) in weights[start..start + 4 * 32].chunks_exact_mut(4).enumerate() {
        let sign = if index % 2 == 0 { 1.0 } else { -1.0 };
        number.copy_from_slice(&(sign * 3e38f32).to_le_bytes());
    }
    let label = CheckpointLabel {
        step: checkpoint.step(),
        fingerprints: checkpoint.fingerprints().clone(),
        held_out_loss: checkpoint.held_out_loss(),
    };
    let files = names.iter().zip(&contents).map(|(name, content)| NewFile::bytes(name, content)).collect();
    store.save(&label, files).unwrap();
}

/// The first matrix, 256 GiB, is refused at once by a limit of 16 GiB; larger machines are not put to the test.
#[cfg(target_os = "linux")]
#[test]
fn a_model_that_no_memory_holds_is_an_error_with_a_hint_and_the_run_says_why_it_failed() {
    let runs = Runs::new();
    let trainer = runs.start("vast", &["--set", "model.hidden_size=262144"]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -v 16777216; exec \"$@\"", "sh"]).arg(trainer.get_program()).args(trainer.get_args());
    limited.env("OMP_NUM_THREADS", "1").current_dir(env!("CARGO_MANIFEST_DIR"));
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let message = stderr(&finish(limited, 1));
    assert!(message.contains("error: ") && message.contains("allocate") && message.contains("hint: lower train.batch_size"), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    let last = events(&runs.run("vast")).pop().unwrap();
    assert!(matches!(&last.event, Event::Failed { reason } if reason.contains("allocate")), "{last:?}");
}
