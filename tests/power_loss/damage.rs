//! Damage that no sync prevents: a flipped byte, a file cut short. Only the verification at load finds it.

use super::history::Version;
use super::trial::version_of;
use bitnet::run::{CheckpointStore, Checkpoints, NewFile};
use bitnet::storage::testing::{ForgetfulFileSystem, SplitMix64};
use bitnet::storage::{FileSystem, create_dir_durably, read_capped};
use std::path::{Path, PathBuf};

const DIR: &str = "/runs/r/checkpoints";
const OLD: Version = Version { step: 1, variant: 0 };
const NEW: Version = Version { step: 2, variant: 0 };

fn two_checkpoints() -> ForgetfulFileSystem {
    let disk = ForgetfulFileSystem::new();
    create_dir_durably(&disk, Path::new("/runs/r")).unwrap();
    let mut store = CheckpointStore::open(&disk, DIR, 2).unwrap();
    for version in [OLD, NEW] {
        let files = version.files();
        store.save(&version.label(), files.iter().map(|(name, content)| NewFile::bytes(name, content)).collect()).unwrap();
    }
    disk
}

fn files_of_newest(disk: &ForgetfulFileSystem) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(DIR).join("step-000002");
    let paths = disk.list(&dir).unwrap().into_iter().map(|entry| dir.join(entry.name));
    paths.map(|path| (path.clone(), read_capped(disk, &path, 1 << 20).unwrap())).collect()
}

fn overwrite(disk: &ForgetfulFileSystem, path: &Path, content: &[u8]) {
    disk.create(path).unwrap().write_all(content).unwrap();
}

/// Does one thing after another to the newest checkpoint, undoing each; `found` is told what was done.
fn damage_in_every_way(disk: &ForgetfulFileSystem, mut found: impl FnMut(String)) {
    let mut random = SplitMix64::new(7);
    for (path, content) in files_of_newest(disk) {
        for at in 0..content.len() {
            let mut flipped = content.clone();
            flipped[at] ^= 1 << random.below(8);
            overwrite(disk, &path, &flipped);
            found(format!("{} with byte {at} flipped", path.display()));
            overwrite(disk, &path, &content[..at]);
            found(format!("{} cut to {at} bytes", path.display()));
        }
        disk.remove_file(&path).unwrap();
        found(format!("{} removed", path.display()));
        overwrite(disk, &path, &content);
    }
}

#[test]
fn any_flipped_byte_and_any_truncation_is_noticed_and_the_checkpoint_before_is_used() {
    let disk = two_checkpoints();
    damage_in_every_way(&disk, |what| {
        let latest = Checkpoints::new(&disk, DIR).latest().unwrap();
        assert_eq!(latest.damaged.len(), 1, "{what}");
        assert_eq!(version_of(&disk, &latest.checkpoint.unwrap()), Some(OLD), "{what}");
    });
    assert_eq!(version_of(&disk, &Checkpoints::new(&disk, DIR).latest().unwrap().checkpoint.unwrap()), Some(NEW));
}

/// Loaders that leave the verification out, in part or whole.
fn naive_load(disk: &ForgetfulFileSystem, looks_at_sizes: bool) -> Option<Vec<Vec<u8>>> {
    let checkpoints = Checkpoints::new(disk, DIR);
    for step in checkpoints.steps().unwrap().into_iter().rev() {
        let Some(record) = checkpoints.list().unwrap().into_iter().find(|record| record.step == step) else { continue };
        let paths: Vec<PathBuf> = record.files.iter().map(|file| checkpoints.path_of(step).join(&file.name)).collect();
        let has_sizes = |(path, size): (&PathBuf, u64)| disk.metadata(path).is_ok_and(|metadata| metadata.len == size);
        if looks_at_sizes && !paths.iter().zip(record.files.iter().map(|file| file.size)).all(has_sizes) {
            continue;
        }
        return paths.iter().map(|path| read_capped(disk, path, 1 << 20).ok()).collect();
    }
    None
}

fn num_wrong_loads(looks_at_sizes: bool) -> usize {
    let disk = two_checkpoints();
    let right = [OLD, NEW].map(|version| Some(version.files().map(|(_, content)| content).to_vec()));
    let mut num_wrong = 0;
    damage_in_every_way(&disk, |_| num_wrong += usize::from(!right.contains(&naive_load(&disk, looks_at_sizes))));
    num_wrong
}

#[test]
fn without_the_verification_of_lengths_and_hashes_wrong_data_is_loaded() {
    assert!(num_wrong_loads(false) > 0);
}

#[test]
fn without_the_verification_of_hashes_wrong_data_is_loaded() {
    assert!(num_wrong_loads(true) > 0);
}
