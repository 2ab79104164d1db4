//! Finding runs by id, prefix, path or age, and the errors when that fails.

use super::*;
use crate::run::Launch;
use crate::storage::DISK;
use std::fs;

fn runs(ids_and_times: &[(&str, u64)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (id, unix_time) in ids_and_times {
        let run = RunDirectory::create(&DISK, dir.path(), id).unwrap();
        let mut manifest = Manifest::new(*id);
        manifest.launches.push(Launch {
            unix_time: *unix_time,
            command: Vec::new(),
            resumed_from_step: None,
            git: None,
            version: String::new(),
            libtorch_version: String::new(),
            device: "cpu".to_owned(),
            peak: None,
            seed: 1,
            init_from: None,
            num_parameters: 1,
            config_hash: String::new(),
            data_fingerprint: String::new(),
        });
        manifest.write(&DISK, &run).unwrap();
    }
    dir
}

fn found(dir: &Path, name: Option<&str>) -> String {
    find_run(&DISK, dir, name).unwrap().id()
}

fn refused(dir: &Path, name: &str) -> String {
    let error = find_run(&DISK, dir, Some(name)).unwrap_err();
    assert_eq!(error.exit_status(), 2);
    error.to_string()
}

#[test]
fn without_a_name_the_run_launched_last_is_meant_whatever_its_id() {
    let dir = runs(&[("b", 30), ("a", 50), ("c", 40)]);
    assert_eq!((found(dir.path(), None), found(dir.path(), Some("latest"))), ("a".to_owned(), "a".to_owned()));
    let ids: Vec<String> = list_runs(&DISK, dir.path()).unwrap().iter().map(RunDirectory::id).collect();
    assert_eq!(ids, ["b", "c", "a"]);
}

#[test]
fn an_id_wins_over_being_the_beginning_of_another() {
    let dir = runs(&[("mine", 1), ("mine-2", 2), ("latest", 0)]);
    assert_eq!(found(dir.path(), Some("mine")), "mine");
    assert_eq!(found(dir.path(), Some("mine-")), "mine-2");
    assert_eq!(found(dir.path(), Some("latest")), "latest");
}

#[test]
fn a_path_is_a_name_with_or_without_its_last_slash() {
    let dir = runs(&[("mine", 1)]);
    let path = dir.path().join("mine");
    for name in [format!("{}", path.display()), format!("{}/", path.display()), format!("{}/.", path.display())] {
        assert_eq!(found(Path::new("/nonexistent"), Some(&name)), "mine", "{name}");
    }
}

#[test]
fn an_ambiguous_beginning_names_the_candidates() {
    let dir = runs(&[("mine-1", 1), ("mine-2", 2), ("other", 3)]);
    let message = refused(dir.path(), "mi");
    assert!(message.contains("\"mi\"") && message.contains("mine-2, mine-1") && !message.contains("other"), "{message}");
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest_first() {
    let dir = runs(&[("arithmetic", 1), ("mine", 2), ("twin", 3)]);
    assert!(refused(dir.path(), "nine").contains("hint: there is mine, "), "{}", refused(dir.path(), "nine"));
    assert!(refused(dir.path(), "").contains("there is no run \"\""));
}

#[test]
fn no_runs_at_all_say_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("not-a-run")).unwrap();
    for runs_dir in [dir.path(), Path::new("/nonexistent")] {
        let message = find_run(&DISK, runs_dir, None).unwrap_err().to_string();
        assert!(message.contains("there are no runs in") && message.contains("hint: start one with"), "{message}");
        assert!(refused(runs_dir, "mine").contains("hint: start one with"));
        assert!(list_runs(&DISK, runs_dir).unwrap().is_empty());
    }
}

#[test]
fn a_directory_that_holds_no_model_is_told_what_it_lacks() {
    let dir = runs(&[("mine", 1)]);
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let said = |path: &Path| {
        let error = model_folder(&DISK, dir.path(), path.to_str(), &mut |_| {}).unwrap_err();
        assert_eq!(error.exit_status(), 2);
        error.to_string()
    };
    assert!(said(&folder).contains("folder is neither a model folder nor a run: it has no config.json"), "{}", said(&folder));
    fs::create_dir(folder.join("config.json")).unwrap();
    assert!(said(&folder).contains("its config.json is no regular file"), "{}", said(&folder));
    assert!(said(&folder.join("nowhere")).contains("nowhere does not exist"));
    assert!(said(Path::new("nine")).contains("hint: there is mine"));
}
