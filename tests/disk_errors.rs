//! Every n-th call to the disk fails, for every n: full, full half-way through a write, an I/O error, once or until healed. The last
//! acknowledged checkpoint stays whole and loadable, and once the disk is well again saves succeed.

use bitnet::run::{Checkpoint, CheckpointLabel, CheckpointStore, Fingerprints, NewFile};
use bitnet::storage::testing::{FailingFileSystem, Failure, ForgetfulFileSystem};
use bitnet::storage::{DISK, FileSystem, create_dir_durably, is_out_of_space};
use std::path::Path;

const KEEP_LAST: usize = 2;
const NUM_SAVES: u64 = 5;
/// What step 2 is saved with the second time.
const OTHER: &[u8] = b"other weights of step 2";

fn content(step: u64) -> Vec<u8> {
    format!("the weights of step {step}").into_bytes()
}

fn save(store: &mut CheckpointStore<'_>, step: u64, content: &[u8]) -> bitnet::Result<()> {
    let label = CheckpointLabel { step, fingerprints: Fingerprints::default(), held_out_loss: Some(1.0 / step as f64) };
    let files = vec![NewFile::bytes("model.safetensors", content), NewFile::bytes("trainer.json", b"{}")];
    store.save(&label, files).map(|_| ())
}

/// What a trainer does: it opens, loads and saves, goes on after a save that failed, and saves step 2 a second time with another content.
/// Returns what was acknowledged last, and the errors.
fn train(fs: &dyn FileSystem, dir: &Path) -> (Option<(u64, Vec<u8>)>, Vec<bitnet::Error>) {
    let (mut acknowledged, mut errors) = (None, Vec::new());
    let opened = CheckpointStore::open(fs, dir, KEEP_LAST).and_then(|mut store| store.load_latest().map(|_| store));
    let mut store = match opened {
        Ok(store) => store,
        Err(error) => return (None, vec![error]),
    };
    let again = (2, OTHER.to_vec());
    let mut saves: Vec<(u64, Vec<u8>)> = (1..=NUM_SAVES).map(|step| (step, content(step))).collect();
    saves.insert(2, again);
    for (step, content) in saves {
        match save(&mut store, step, &content) {
            Ok(()) => acknowledged = Some((step, content)),
            Err(error) => errors.push(error),
        }
    }
    (acknowledged, errors)
}

/// The newest checkpoint is the one acknowledged last, or the whole one of a later save that failed after it had done its work.
fn assert_safe(fs: &dyn FileSystem, dir: &Path, acknowledged: Option<&(u64, Vec<u8>)>, what: &str) {
    let Some((step, wanted)) = acknowledged else { return };
    let mut store = CheckpointStore::open(fs, dir, KEEP_LAST).unwrap();
    let latest = store.load_latest().unwrap();
    let found = latest.checkpoint.unwrap_or_else(|| panic!("{what}: nothing is left of step {step}"));
    assert!(found.step() >= *step, "{what}: step {} instead of {step}", found.step());
    let read = found.read(fs, "model.safetensors").unwrap();
    let is_later = found.step() > *step && read == content(found.step()) || read == OTHER;
    assert!(read == *wanted || is_later, "{what}: wrong content");
    save(&mut store, 100, &content(100)).unwrap_or_else(|error| panic!("{what}: no save after healing: {error}"));
    let newest = store.load_latest().unwrap().checkpoint.as_ref().map(Checkpoint::step);
    assert_eq!(newest, Some(100), "{what}");
}

fn num_calls(fs: FailingFileSystem<impl FileSystem>, dir: &Path) -> u64 {
    let (acknowledged, errors) = train(&fs, dir);
    assert!(errors.is_empty() && acknowledged == Some((NUM_SAVES, content(NUM_SAVES))));
    fs.num_calls()
}

fn forgetful(dir: &Path) -> FailingFileSystem<ForgetfulFileSystem> {
    let disk = ForgetfulFileSystem::new();
    create_dir_durably(&disk, dir.parent().unwrap()).unwrap();
    FailingFileSystem::new(disk)
}

fn check_every_call(failure: Failure) {
    let dir = Path::new("/runs/r/checkpoints");
    let total = num_calls(forgetful(dir), dir);
    assert!(total > 100, "{total} calls are too few to be the whole sequence");
    for number in 0..total {
        let what = format!("{failure:?} at call {number}");
        let fs = forgetful(dir);
        fs.fail_after(number, failure);
        let (acknowledged, errors) = train(&fs, dir);
        let is_fine = |error: &bitnet::Error| failure == Failure::InputOutput || failure == Failure::DiskIsGone || is_out_of_space(error);
        assert!(errors.iter().all(is_fine), "{what}: {errors:?}");
        fs.heal();
        fs.inner().power_cut(number); // What was acknowledged is durable too.
        assert_safe(&fs, dir, acknowledged.as_ref(), &what);
    }
}

#[test]
fn a_disk_that_is_full_at_any_call_loses_nothing() {
    check_every_call(Failure::DiskFull);
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_any_write_loses_nothing() {
    check_every_call(Failure::DiskFullHalfWay);
}

#[test]
fn a_disk_that_stays_full_from_any_call_on_loses_nothing() {
    check_every_call(Failure::DiskStaysFull);
}

#[test]
fn an_input_output_error_at_any_call_loses_nothing() {
    check_every_call(Failure::InputOutput);
}

#[test]
fn a_disk_that_is_gone_from_any_call_on_loses_nothing() {
    check_every_call(Failure::DiskIsGone);
}

#[test]
fn the_same_holds_on_a_real_file_system() {
    let whole = tempfile::tempdir().unwrap();
    let total = num_calls(FailingFileSystem::new(DISK), &whole.path().join("checkpoints"));
    for number in (0..total).step_by(7) {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("checkpoints");
        let fs = FailingFileSystem::new(DISK);
        fs.fail_after(number, Failure::DiskFullHalfWay);
        let (acknowledged, _) = train(&fs, &dir);
        fs.heal();
        assert_safe(&fs, &dir, acknowledged.as_ref(), &format!("call {number}"));
    }
}
