//! Ids, the creation of a run, and its manifest.

use super::*;
use crate::storage::DISK;
use crate::storage::testing::ForgetfulFileSystem;
use std::path::Path;

#[test]
fn ids_are_plain_names() {
    for id in ["a", "9", "bitnet_5M_arithmetic_1700000000", "Mine.2-b", &"x".repeat(64)] {
        check_run_id(id).unwrap();
    }
    for id in ["", ".", "..", ".a", "-a", "_a", "a/b", "a\\b", "a b", "a\n", "\u{e9}", &"x".repeat(65)] {
        let error = check_run_id(id).unwrap_err();
        assert!(error.exit_status() == 2 && error.hint_text().is_some(), "{id:?}");
    }
}

#[test]
fn counts_are_shortened_as_people_do() {
    let shortened =
        [7, 999, 1_000, 729_499, 999_499, 999_500, 5_123_456, 999_499_999, 999_500_000, 1_000_000_000, 2_412_820_480, 70_000_000_000];
    let wanted = ["7", "999", "1K", "729K", "999K", "1M", "5M", "999M", "1B", "1B", "2.4B", "70B"];
    assert_eq!(shortened.map(short_count), wanted);
}

#[test]
fn the_default_id_is_an_id_whatever_the_experiment_is_called() {
    assert_eq!(default_run_id(5_123_456, "arithmetic", 1_700_000_000), "bitnet_5M_arithmetic_1700000000");
    for experiment in ["", "../../etc", "mit Leerzeichen \u{e4}", &"x".repeat(500)] {
        check_run_id(&default_run_id(u64::MAX, experiment, u64::MAX)).unwrap();
    }
}

#[test]
fn a_run_that_exists_is_never_taken_again() {
    let root = tempfile::tempdir().unwrap();
    let runs_dir = root.path().join("runs");
    let run = RunDirectory::create(&DISK, &runs_dir, "mine").unwrap();
    assert!(run.logs_dir().is_dir() && run.checkpoints_dir().is_dir());
    let error = RunDirectory::create(&DISK, &runs_dir, "mine").unwrap_err();
    assert_eq!(error.exit_status(), 2);
    assert!(error.to_string().contains("exists already") && error.hint_text().unwrap().contains("--run-id mine --resume"), "{error}");
    assert!(RunDirectory::create(&DISK, &runs_dir, "../mine").is_err());
}

#[test]
fn a_run_has_one_writer() {
    let root = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(&DISK, root.path(), "mine").unwrap();
    let _lock = run.lock().unwrap();
    let error = run.lock().unwrap_err();
    assert!(error.to_string().contains("mine is being written by process"), "{error}");
}

fn launch(resumed_from_step: Option<u64>) -> Launch {
    Launch {
        unix_time: 1_700_000_000,
        command: vec!["train".into(), "--set".into(), "a: b # c".into()],
        resumed_from_step,
        git: Some(GitState { commit: "0123456789".into(), is_dirty: true }),
        version: "0.1.0".into(),
        libtorch_version: "2.11".into(),
        device: "cpu".into(),
        peak: Some(Peak { flops_per_second: 6.4e12, source: "measured".into() }),
        seed: u64::MAX,
        init_from: None,
        num_parameters: 5,
        config_hash: "1e5".into(),
        data_fingerprint: "0x10".into(),
    }
}

#[test]
fn the_manifest_keeps_every_launch_and_outlives_a_power_cut() {
    for seed in 0..20 {
        let disk = ForgetfulFileSystem::new();
        let run = RunDirectory::create(&disk, Path::new("/disk/runs"), "mine").unwrap();
        let mut manifest = Manifest::new(run.id());
        for resumed_from_step in [None, Some(500)] {
            manifest.launches.push(launch(resumed_from_step));
            manifest.write(&disk, &run).unwrap();
            disk.power_cut(seed);
            assert_eq!(Manifest::read(&disk, &run).unwrap(), manifest);
            manifest = Manifest::read(&disk, &run).unwrap();
        }
    }
}

#[test]
fn a_manifest_that_is_none_is_the_users_error_with_its_path() {
    let root = tempfile::tempdir().unwrap();
    let run = RunDirectory::create(&DISK, root.path(), "mine").unwrap();
    std::fs::write(run.manifest_path(), "run_id: [").unwrap();
    let error = Manifest::read(&DISK, &run).unwrap_err();
    assert!(error.exit_status() == 2 && error.to_string().contains("manifest.yaml"), "{error}");
}

#[test]
fn a_directory_outside_any_working_tree_has_no_commit() {
    assert_eq!(GitState::of(&tempfile::tempdir().unwrap().path().join("absent")), None);
}
