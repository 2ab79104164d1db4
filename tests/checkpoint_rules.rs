//! What the checkpoint store promises beside surviving: what it keeps, what it refuses, and that a hostile directory cannot hurt.

use bitnet::run::{Begin, CheckpointLabel, CheckpointStore, Checkpoints, Fingerprints, NewFile, SaveOutcome};
use bitnet::storage::testing::{Answer, ForgetfulFileSystem, InterceptedFileSystem, Operation};
use bitnet::storage::{DISK, FileSystem, content_hash, create_dir_durably, is_out_of_space};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const DIR: &str = "/r/checkpoints";

fn disk() -> ForgetfulFileSystem {
    let disk = ForgetfulFileSystem::new();
    create_dir_durably(&disk, Path::new("/r")).unwrap();
    disk
}

fn label(step: u64, held_out_loss: Option<f64>) -> CheckpointLabel {
    CheckpointLabel { step, fingerprints: Fingerprints::default(), held_out_loss }
}

fn save(store: &mut CheckpointStore<'_>, step: u64, loss: Option<f64>) -> SaveOutcome {
    store.save(&label(step, loss), vec![NewFile::bytes("model.safetensors", step.to_string().as_bytes())]).unwrap()
}

fn names(disk: &dyn FileSystem, dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = disk.list(dir).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

#[test]
fn the_newest_ones_and_the_best_are_kept_also_by_a_later_process() {
    let disk = disk();
    let mut store = CheckpointStore::open(&disk, DIR, 2).unwrap();
    for (step, loss) in [(1, 0.9), (2, 0.3), (3, f64::NAN), (4, 0.5)] {
        save(&mut store, step, Some(loss));
    }
    assert_eq!(store.checkpoints().steps().unwrap(), [2, 3, 4]);
    let mut later = CheckpointStore::open(&disk, DIR, 2).unwrap();
    assert_eq!(save(&mut later, 5, None).pruned, [3]);
    assert_eq!(save(&mut later, 6, Some(0.3)).pruned, [2, 4], "of equals the newer is the best");
    assert_eq!(later.checkpoints().steps().unwrap(), [5, 6]);
}

#[test]
fn the_one_resumed_from_is_kept() {
    let disk = disk();
    let mut store = CheckpointStore::open(&disk, DIR, 1).unwrap();
    save(&mut store, 1, None);
    let mut resumed = CheckpointStore::open(&disk, DIR, 1).unwrap();
    assert_eq!(resumed.load_latest().unwrap().checkpoint.unwrap().step(), 1);
    (2..=4).for_each(|step| drop(save(&mut resumed, step, None)));
    assert_eq!(resumed.checkpoints().steps().unwrap(), [1, 4]);
}

#[test]
fn a_nearly_full_disk_is_pruned_to_two_and_then_the_save_is_refused_as_out_of_space() {
    let disk = disk();
    let mut store = CheckpointStore::open(&disk, DIR, 9).unwrap();
    (1..=5).for_each(|step| drop(save(&mut store, step, None)));
    disk.set_free_space(256 << 10); // Not the byte more that is needed.
    let error = store.save(&label(6, None), vec![NewFile::bytes("model.safetensors", b"6")]).unwrap_err();
    assert!(is_out_of_space(&error), "{error}");
    assert_eq!(store.checkpoints().steps().unwrap(), [4, 5]);
    disk.set_free_space(257 << 10);
    save(&mut store, 6, None);
    assert_eq!(store.load_latest().unwrap().checkpoint.unwrap().step(), 6);
}

#[test]
fn the_space_asked_for_follows_what_is_written_and_a_last_state_is_tried_without_it() {
    let disk = disk();
    let mut store = CheckpointStore::open(&disk, DIR, 2).unwrap();
    let megabytes = |count: usize| vec![7; count << 20];
    let file = |content| vec![NewFile::bytes("model.safetensors", content)];
    let (small, large) = (megabytes(1), megabytes(20));
    disk.set_free_space(20 << 20);
    store.save(&label(1, None), file(&small)).unwrap();
    assert!(is_out_of_space(&store.save(&label(2, None), file(&large)).unwrap_err()));
    store.save_as(Begin::InAnyCase, &label(2, None), file(&large)).unwrap();
    assert_eq!(store.checkpoints().steps().unwrap(), [1, 2]);
}

#[test]
fn a_directory_that_was_removed_is_made_again_but_not_the_run_around_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("run/checkpoints");
    create_dir_durably(&DISK, &dir).unwrap();
    let mut store = CheckpointStore::open(&DISK, &dir, 2).unwrap();
    assert!(!save(&mut store, 1, None).was_dir_gone);
    fs::remove_dir_all(&dir).unwrap();
    assert!(save(&mut store, 2, None).was_dir_gone && !save(&mut store, 3, None).was_dir_gone);
    assert_eq!(store.checkpoints().steps().unwrap(), [2, 3]);
    fs::remove_dir_all(root.path().join("run")).unwrap();
    let error = store.save(&label(4, None), vec![NewFile::bytes("model.safetensors", b"4")]).unwrap_err();
    assert!(error.to_string().contains("run is gone: it was removed or renamed"), "{error}");
    assert!(!root.path().join("run").exists());
}

#[test]
fn the_same_state_saved_again_stays_and_another_one_replaces_it() {
    let disk = disk();
    let mut store = CheckpointStore::open(&disk, DIR, 2).unwrap();
    assert!(!save(&mut store, 1, None).was_there);
    assert!(save(&mut store, 1, None).was_there);
    let replaced = store.save(&label(1, None), vec![NewFile::bytes("model.safetensors", b"another")]).unwrap();
    assert!(!replaced.was_there);
    assert_eq!(replaced.checkpoint.read(&disk, "model.safetensors").unwrap(), b"another");
    assert_eq!(names(&disk, Path::new(DIR)), ["step-000001"]);
}

#[test]
fn a_writer_that_fails_leaves_nothing_behind_and_its_own_error() {
    let disk = disk();
    let mut store = CheckpointStore::open(&disk, DIR, 2).unwrap();
    let failing = NewFile::streamed("model.safetensors", 3, |writer| {
        writer.write_all(b"abc")?;
        Err(bitnet::Error::ours("a weight is not finite"))
    });
    let error = store.save(&label(1, None), vec![failing]).unwrap_err();
    assert!(error.to_string().contains("a weight is not finite"), "{error}");
    assert_eq!(names(&disk, Path::new(DIR)), Vec::<String>::new());
}

#[test]
fn names_that_leave_the_directory_are_refused_when_saving() {
    let disk = disk();
    let mut store = CheckpointStore::open(&disk, DIR, 2).unwrap();
    for name in ["../x", "a/b", "a\\b", "", ".", "..", ".hidden", "COMPLETE", "a\0b", "C:x"] {
        assert!(store.save(&label(1, None), vec![NewFile::bytes(name, b"x")]).is_err(), "{name:?}");
    }
    let twice = vec![NewFile::bytes("a", b"1"), NewFile::bytes("a", b"2")];
    assert!(store.save(&label(1, None), twice).is_err());
    assert_eq!(names(&disk, Path::new(DIR)), Vec::<String>::new());
}

#[test]
fn the_start_removes_what_crashes_left() {
    let disk = disk();
    save(&mut CheckpointStore::open(&disk, DIR, 2).unwrap(), 1, None);
    for left in [".tmp-000002-77", ".trash-000000"] {
        let dir = Path::new(DIR).join(left);
        disk.create_dir(&dir).unwrap();
        disk.create(&dir.join("model.safetensors")).unwrap();
    }
    CheckpointStore::open(&disk, DIR, 2).unwrap();
    assert_eq!(names(&disk, Path::new(DIR)), ["step-000001"]);
}

#[test]
fn a_damaged_one_is_set_aside_and_named_and_a_reader_changes_nothing() {
    let disk = disk();
    let mut store = CheckpointStore::open(&disk, DIR, 3).unwrap();
    (1..=2).for_each(|step| drop(save(&mut store, step, None)));
    disk.create(&Path::new(DIR).join("step-000002/model.safetensors")).unwrap();
    assert_eq!(Checkpoints::new(&disk, DIR).latest().unwrap().damaged[0].path, Path::new(DIR).join("step-000002"));
    assert!(names(&disk, Path::new(DIR)).contains(&"step-000002".to_owned()));
    let latest = store.load_latest().unwrap();
    assert_eq!(latest.checkpoint.unwrap().step(), 1);
    assert_eq!(latest.damaged[0].path, Path::new(DIR).join("corrupt-000002"));
    assert!(latest.damaged[0].reason.contains("model.safetensors has 0 bytes instead of 1"), "{}", latest.damaged[0].reason);
    assert_eq!(names(&disk, Path::new(DIR)), ["corrupt-000002", "step-000001"]);
}

/// `COMPLETE` as an attacker would seal it.
fn sealed(body: &str) -> String {
    format!("{body},\"blake3\":\"{}\"}}\n", content_hash(body.as_bytes()))
}

fn record(format: u32, name: &str, size: &str) -> String {
    let hash = content_hash(b"secret");
    let fingerprints = r#"{"config":"","tokenizer":"","data":""}"#;
    let file = format!(r#"{{"name":{name:?},"size":{size},"blake3":"{hash}"}}"#);
    sealed(&format!(r#"{{"format":{format},"step":7,"fingerprints":{fingerprints},"held_out_loss":null,"files":[{file}]"#))
}

#[test]
fn a_hostile_complete_neither_panics_nor_reads_outside_its_directory() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("checkpoints/step-000007");
    fs::create_dir_all(&dir).unwrap();
    fs::write(root.path().join("secret"), "secret").unwrap();
    fs::write(dir.join("model"), "secret").unwrap();
    let checkpoints = Checkpoints::new(&DISK, root.path().join("checkpoints"));
    fs::write(dir.join("COMPLETE"), record(1, "model", "6")).unwrap();
    assert_eq!(checkpoints.latest().unwrap().checkpoint.unwrap().step(), 7, "the forgery is a good one");
    let outside = root.path().join("secret").display().to_string();
    let mut forgeries = vec![String::new(), "{}".into(), "\u{1F980}".repeat(40), sealed("{"), sealed("[1"), record(0, "model", "6")];
    forgeries.extend(["../../secret", &outside, "", ".."].map(|name| record(1, name, "6")));
    forgeries.extend(["18446744073709551615", "1e300", "-1", "99999999999999999999"].map(|size| record(1, "model", size)));
    forgeries.push(sealed(&"[".repeat(100_000)));
    for forgery in forgeries {
        fs::write(dir.join("COMPLETE"), &forgery).unwrap();
        let latest = checkpoints.latest().unwrap();
        assert!(latest.checkpoint.is_none() && latest.damaged.len() == 1, "{}", &forgery[..forgery.len().min(200)]);
    }
}

#[test]
fn a_checkpoint_of_a_newer_program_is_an_error_with_a_hint_and_stays_where_it_is() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("checkpoints/step-000007");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("COMPLETE"), record(2, "model", "6")).unwrap();
    let error = CheckpointStore::open(&DISK, root.path().join("checkpoints"), 2).unwrap().load_latest().unwrap_err();
    assert_eq!(error.exit_status(), 2);
    assert!(error.hint_text().is_some() && dir.exists());
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_is_neither_followed_nor_trusted() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("checkpoints/step-000007");
    fs::create_dir_all(&dir).unwrap();
    fs::write(root.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(root.path().join("secret"), dir.join("model")).unwrap();
    std::os::unix::fs::symlink(root.path(), root.path().join("checkpoints/.trash-000001")).unwrap();
    fs::write(dir.join("COMPLETE"), record(1, "model", "6")).unwrap();
    let mut store = CheckpointStore::open(&DISK, root.path().join("checkpoints"), 2).unwrap();
    assert!(store.load_latest().unwrap().checkpoint.is_none());
    assert!(root.path().join("secret").exists() && !root.path().join("checkpoints/.trash-000001").exists());
}

/// A trainer that saves and prunes at the very moment a reader has listed what there is.
#[test]
fn a_reader_that_is_overtaken_by_pruning_finds_the_newer_one() {
    let disk = disk();
    save(&mut CheckpointStore::open(&disk, DIR, 1).unwrap(), 1, None);
    let (trainer, has_saved) = (disk.clone(), AtomicBool::new(false));
    let reading = InterceptedFileSystem::new(disk, move |call| {
        if call.operation == Operation::Metadata && !has_saved.swap(true, Ordering::Relaxed) {
            save(&mut CheckpointStore::open(&trainer, DIR, 1).unwrap(), 2, None);
        }
        Answer::Pass
    });
    let latest = Checkpoints::new(&reading, DIR).latest().unwrap();
    assert_eq!((latest.checkpoint.unwrap().step(), latest.damaged), (2, vec![]));
}
