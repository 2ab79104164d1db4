//! Atomic writes under power cuts and errors, durable directories, locks, and the doubles themselves.

use super::testing::{Answer, FailingFileSystem, Failure, ForgetfulFileSystem, InterceptedFileSystem, Operation};
use super::*;
use std::io::Write;
use std::path::Path;

const FILE: &str = "config.yaml";

fn read(fs: &dyn FileSystem) -> Option<Vec<u8>> {
    read_capped(fs, Path::new(FILE), 1 << 20).ok()
}

/// Cuts the power after each number of calls of a second write, with several seeds; returns what was ever found, and whether a write
/// that was acknowledged was lost.
fn contents_after_cuts(skipped: Option<Operation>) -> (Vec<Option<Vec<u8>>>, bool) {
    let (mut found, mut is_lost) = (Vec::new(), false);
    for (num_calls, seed) in (0..10).flat_map(|num_calls| (0..60).map(move |seed| (num_calls, seed))) {
        let disk = ForgetfulFileSystem::new();
        write_atomically(&disk, Path::new(FILE), b"the old one").unwrap();
        let failing = FailingFileSystem::new(disk.clone());
        failing.fail_after(num_calls, Failure::DiskIsGone);
        let bent =
            InterceptedFileSystem::new(failing, move |call| if Some(call.operation) == skipped { Answer::Skip } else { Answer::Pass });
        let is_acknowledged = write_atomically(&bent, Path::new(FILE), b"the new content").is_ok();
        disk.power_cut(seed);
        let content = read(&disk);
        is_lost |= is_acknowledged && content.as_deref() != Some(b"the new content");
        found.push(content);
    }
    (found, is_lost)
}

#[test]
fn an_atomic_write_leaves_the_old_content_or_the_new_and_keeps_what_it_acknowledged() {
    let (found, is_lost) = contents_after_cuts(None);
    let whole = [Some(b"the old one".to_vec()), Some(b"the new content".to_vec())];
    assert!(found.iter().all(|content| whole.contains(content)));
    assert!(whole.iter().all(|content| found.contains(content)), "cuts before and after the commit were tried");
    assert!(!is_lost);
}

#[test]
fn without_either_sync_an_atomic_write_loses_what_it_acknowledged() {
    assert!(contents_after_cuts(Some(Operation::Sync)).1);
    assert!(contents_after_cuts(Some(Operation::SyncDir)).1);
}

#[test]
fn a_failed_atomic_write_leaves_no_temporary_file() {
    for number in 0..5 {
        let fs = FailingFileSystem::new(ForgetfulFileSystem::new());
        fs.fail_after(number, Failure::DiskFullHalfWay);
        if let Err(error) = write_atomically(&fs, Path::new(FILE), b"content") {
            assert!(is_out_of_space(&error) && error.to_string().contains(FILE), "{error}");
        }
        assert!(fs.list(Path::new("")).unwrap().iter().all(|entry| entry.name == FILE), "call {number}");
    }
}

#[test]
fn what_a_killed_write_left_is_removed_and_nothing_else() {
    let disk = ForgetfulFileSystem::new();
    for name in [".tmp-config.yaml-77", FILE, "tmp-x"] {
        disk.create(Path::new(name)).unwrap();
    }
    disk.create_dir(Path::new(".tmp-000001-77")).unwrap();
    remove_temporaries(&disk, Path::new("")).unwrap();
    let names: Vec<String> = disk.list(Path::new("")).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, [".tmp-000001-77", FILE, "tmp-x"]);
}

#[test]
fn directories_made_durably_outlive_a_power_cut() {
    for seed in 0..50 {
        let disk = ForgetfulFileSystem::new();
        create_dir_durably(&disk, Path::new("a/b/c")).unwrap();
        create_dir_durably(&disk, Path::new("a/b/c")).unwrap();
        disk.power_cut(seed);
        assert!(disk.exists(Path::new("a/b/c")).unwrap());
    }
}

#[test]
fn a_power_cut_may_lose_whatever_was_not_synced_and_never_what_was() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..300 {
        let disk = ForgetfulFileSystem::new();
        let mut file = disk.create(Path::new(FILE)).unwrap();
        file.write_all(b"synced..").unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        file.write_all(b"unsynced bytes").unwrap();
        disk.create_dir(Path::new("unsynced")).unwrap();
        disk.power_cut(seed);
        assert!(file.write_all(b"x").is_err(), "an open file is of no use after a power cut");
        let content = read(&disk).unwrap();
        assert!(content.starts_with(b"synced.."));
        seen.insert((content, disk.exists(Path::new("unsynced")).unwrap()));
    }
    for wanted in
        ["synced..", "synced..unsynced bytes", "synced..unsy", "synced..\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "synced..unsynced\0\0\0\0\0\0"]
    {
        assert!(seen.iter().any(|(content, _)| content == wanted.as_bytes()), "{wanted:?} never happened");
    }
    assert!([true, false].iter().all(|is_there| seen.iter().any(|(_, there)| there == is_there)));
}

#[test]
fn the_lock_is_one_writers_and_names_it() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run.lock");
    assert!(!Lock::is_held(&path).unwrap());
    let lock = Lock::acquire(&path).unwrap();
    assert!(Lock::is_held(&path).unwrap());
    let error = Lock::acquire(&path).unwrap_err();
    assert_eq!(error.exit_status(), 2);
    assert!(error.to_string().contains(&format!("is being written by process {}", std::process::id())), "{error}");
    drop(lock);
    assert!(path.exists() && !Lock::is_held(&path).unwrap());
    Lock::acquire(&path).unwrap();
}

#[test]
fn the_real_file_system_tells_the_free_space_and_lists_what_it_holds() {
    let root = tempfile::tempdir().unwrap();
    assert!(DISK.free_space(root.path()).unwrap() > 0);
    write_atomically(&DISK, &root.path().join("a"), b"123").unwrap();
    create_dir_durably(&DISK, &root.path().join("b")).unwrap();
    assert_eq!(DISK.metadata(&root.path().join("a")).unwrap(), Metadata { kind: EntryKind::File, len: 3 });
    let mut entries = DISK.list(root.path()).unwrap();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(entries.iter().map(|entry| entry.kind).collect::<Vec<_>>(), [EntryKind::File, EntryKind::Directory]);
}

#[test]
fn a_capped_read_refuses_a_longer_file() {
    let disk = ForgetfulFileSystem::new();
    write_atomically(&disk, Path::new(FILE), b"12345").unwrap();
    assert_eq!(read_capped(&disk, Path::new(FILE), 5).unwrap(), b"12345");
    assert_eq!(read_capped(&disk, Path::new(FILE), 4).unwrap_err().exit_status(), 2);
}

#[test]
fn hashes_of_streams_are_those_of_their_bytes() {
    let content: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    let mut writer = HashingWriter::new(Vec::new());
    content.chunks(777).for_each(|chunk| writer.write_all(chunk).unwrap());
    let (written, hash, length) = writer.finish();
    assert_eq!((&written, &hash, length), (&content, &content_hash(&content), 200_000));
    assert_eq!(hash_reader(content.as_slice()).unwrap(), (hash, length));
    // The published test vector of BLAKE3 for no input.
    assert_eq!(content_hash(b""), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
}
