//! Claims about verdicts: facts made by hand, and what is said of them.

use super::libtorch::{Install, Libtorch, Stamp, VERSION};
use super::memory::{Limit, Memory};
use super::places::{Hub, Places, try_in};
use super::processor::{Processor, Training, listed};
use super::tools::{Tools, version};
use super::*;
use crate::config::Kernels;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// `verdict name: finding; type: cure`.
fn line(check: &Check) -> String {
    let cure = check.cure.as_ref().map(|cure| format!("; type: {cure}")).unwrap_or_default();
    format!("{} {}: {}{cure}", check.verdict.shown().0, check.name, check.finding)
}

fn lines(checks: &[Check]) -> Vec<String> {
    checks.iter().map(line).collect()
}

fn tools() -> Tools {
    let some = |text: &str| Some(text.to_owned());
    Tools {
        rust: some("rustc 1.95.0 (abc 2026-04-01)"),
        cpp: some("g++ 12.2.0"),
        c: some("cc 12.2.0"),
        python: some("Python 3.11.2"),
        has_pip: true,
        installer: Some(0),
    }
}

#[test]
fn a_missing_tool_is_named_with_the_command_that_installs_it() {
    let expected = [
        "ok toolchain: rustc 1.95.0 (abc 2026-04-01); 1.95 or newer is needed",
        "ok compiler: g++ 12.2.0",
        "ok python: Python 3.11.2 with pip",
    ];
    assert_eq!(lines(&tools().checks(false)), expected);
    let old = Tools { rust: Some("rustc 1.79.0".into()), python: Some("Python 3.7.1".into()), cpp: None, ..tools() };
    let expected = [
        "error toolchain: rustc 1.79.0 is too old, 1.95 or newer is needed; type: rustup update stable",
        "error compiler: there is no C++ compiler; type: sudo apt-get install -y gcc g++",
        "error python: Python 3.7.1 is too old, 3.8 or newer is needed; type: sudo apt-get install -y python3 python3-pip",
    ];
    assert_eq!(lines(&old.checks(false)), expected);
    let bare = lines(&Tools::default().checks(true));
    assert!(bare.iter().all(|line| line.starts_with("error ") && line.contains("; type: ")), "{bare:?}");
    let without_pip = Tools { has_pip: false, ..tools() };
    assert_eq!([false, true].map(|has_libtorch| without_pip.checks(has_libtorch)[2].verdict), [Verdict::Error, Verdict::Ok]);
}

#[test]
fn versions_are_read_where_they_stand() {
    assert_eq!(version("rustc 1.97.0-nightly (a 2026)"), Some([1, 97]));
    assert_eq!(version("580.65.06"), Some([580, 65]));
    assert_eq!((version("no number"), version("x 1")), (None, None));
}

fn libtorch(variant: &str) -> Libtorch {
    let stamp = Stamp { version: VERSION.into(), variant: variant.into(), files: [("a".to_owned(), 1)].into() };
    Libtorch { install: Install::Ours { stamp: Some(stamp), problem: None }, driver: None, gpu: None }
}

#[test]
fn a_libtorch_that_does_not_suit_is_told_with_its_cure() {
    assert_eq!(line(&libtorch("cpu").check()), "ok libtorch: 2.11.0, whole, for CPU; there is no NVIDIA driver");
    let with_driver = |variant: &str, driver: &str| Libtorch { driver: Some(driver.into()), ..libtorch(variant) };
    assert_eq!(line(&with_driver("cuda", "580.65.06").check()), "ok libtorch: 2.11.0, whole, for CPU and CUDA; NVIDIA driver 580.65.06");
    let expected = "warning libtorch: 2.11.0, whole, for CPU, beside an NVIDIA driver 580.65.06; type: scripts/setup-libtorch --cuda";
    assert_eq!(line(&with_driver("cpu", "580.65.06").check()), expected);
    assert!(line(&with_driver("cpu", "535.1.2").check()).contains("535.1.2 is too old for its CUDA, 580 is needed"));
    let broken = Libtorch { gpu: Some(Err("no device".into())), ..with_driver("cuda", "580.65.06") };
    assert!(line(&broken.check()).ends_with("but no GPU answers: no device; type: nvidia-smi"));
    let missing = Libtorch { install: Install::Ours { stamp: None, problem: None }, ..libtorch("cpu") };
    assert!(!missing.is_whole() && line(&missing.check()).ends_with("; type: just setup"));
    let named = |version: Option<&str>, has_libraries: bool| {
        let install = Install::Named { dir: "/own".into(), has_libraries, version: version.map(str::to_owned), has_cuda: false };
        Libtorch { install, ..libtorch("cpu") }
    };
    assert_eq!(line(&named(Some(VERSION), true).check()), "ok libtorch: 2.11.0 by LIBTORCH=/own; there is no NVIDIA driver");
    let wrong = "error libtorch: LIBTORCH=/own is version 2.9.1, 2.11.0 is needed; type: unset LIBTORCH && just setup";
    assert_eq!(line(&named(Some("2.9.1"), true).check()), wrong);
    assert_eq!(named(None, true).check().verdict, Verdict::Warning);
    assert_eq!(named(None, false).check().verdict, Verdict::Error);
    #[cfg(feature = "torch")]
    assert_eq!(VERSION, crate::libtorch::VERSION);
}

#[test]
fn an_installation_is_whole_when_every_file_has_its_size() {
    let dir = TempDir::new().unwrap();
    let problem = || match Install::find(dir.path(), None) {
        Install::Ours { stamp, problem } => stamp.map(|_| problem),
        named @ Install::Named { .. } => panic!("{named:?}"),
    };
    assert_eq!(problem(), None);
    fs::write(dir.path().join("setup.json"), "{\"version\": \"2.11.0\", \"var").unwrap();
    assert_eq!(problem(), None, "a stamp that breaks off is none");
    let stamp = r#"{"version": "2.11.0", "variant": "cpu", "asked": null, "files": {"torch/lib/a.so": 3}}"#;
    fs::write(dir.path().join("setup.json"), stamp).unwrap();
    assert_eq!(problem(), Some(Some("torch/lib/a.so is missing".into())));
    fs::create_dir_all(dir.path().join("torch/lib")).unwrap();
    fs::write(dir.path().join("torch/lib/a.so"), "ab").unwrap();
    assert_eq!(problem(), Some(Some("torch/lib/a.so has 2 bytes, not 3".into())));
    fs::write(dir.path().join("torch/lib/a.so"), "abc").unwrap();
    assert_eq!(problem(), Some(None));
    // cargo names our own; a user names another.
    let own = dir.path().join("torch").display().to_string();
    assert!(matches!(Install::find(dir.path(), Some(own)), Install::Ours { .. }));
    let other = TempDir::new().unwrap();
    fs::write(other.path().join("build-version"), "2.11.0+cpu\n").unwrap();
    let expected = Install::Named { dir: other.path().into(), has_libraries: false, version: Some(VERSION.into()), has_cuda: false };
    assert_eq!(Install::find(dir.path(), Some(other.path().display().to_string())), expected);
}

fn processor() -> Processor {
    Processor {
        model: Some("EPYC".into()),
        flags: ["avx2", "avx512_vnni", "avx512_bf16"].map(str::to_owned).into(),
        inference: Ok("avx512".into()),
        best_inference: "avx512".into(),
        training: Training::Kernels { name: "avx512".into(), asked: None },
        num_usable: 2,
        num_training: Some(2),
        wait_policy: None,
        asked_threads: None,
        load: Some(0.5),
    }
}

#[test]
fn kernels_are_named_with_what_the_processor_lacks() {
    let expected = [
        "ok training: integer products by avx512; this EPYC lacks AMX",
        "ok inference: packed matrices by avx512; this EPYC lacks AMX",
        "ok cores: 2 usable cores; threads wait actively for a moment between two operations, then sleep",
    ];
    assert_eq!(lines(&processor().checks()), expected);
    let old = Processor { flags: ["avx2".to_owned()].into(), training: Training::Plain { asked: None }, ..processor() };
    let lacks = "libtorch's own operations; this EPYC lacks AVX-512 VNNI, AVX-512 BF16 and AMX";
    assert_eq!(line(&old.checks()[0]), format!("ok training: {lacks}"));
    assert_eq!((old.training_kernels(), processor().training_kernels()), (Kernels::CpuPlain, Kernels::CpuCodes));
    let elsewhere = Processor { flags: Default::default(), model: None, ..processor() };
    assert_eq!(line(&elsewhere.checks()[1]), "ok inference: packed matrices by avx512", "nothing is known to be lacking");
    let asked = Processor {
        training: Training::Plain { asked: Some("none".into()) },
        inference: Ok("portable".into()),
        flags: Default::default(),
        ..processor()
    };
    let expected = [
        "warning training: libtorch's own operations, as BITNET_MATMUL=none asks; type: unset BITNET_MATMUL",
        "warning inference: packed matrices by portable, though avx512 is there, as BITNET_KERNEL asks; type: unset BITNET_KERNEL",
    ];
    assert_eq!(lines(&asked.checks()[..2]), expected);
    let wrong = Processor { inference: Err("BITNET_KERNEL: no such kernel".into()), ..processor() };
    assert_eq!(line(&wrong.checks()[1]), "error inference: BITNET_KERNEL: no such kernel; type: unset BITNET_KERNEL");
}

#[test]
fn threads_that_would_wait_for_each_other_are_warned_of() {
    let cores = |processor: Processor| line(&processor.checks()[2]);
    let many = "warning cores: 2 usable cores, but libtorch starts 64 threads, which wait actively for each other; type: ";
    let limited = Processor { num_training: Some(64), ..processor() };
    assert_eq!(cores(limited.clone()), format!("{many}export OMP_NUM_THREADS=2"));
    assert_eq!(cores(Processor { asked_threads: Some("64".into()), ..limited }), format!("{many}unset OMP_NUM_THREADS"));
    assert!(cores(Processor { wait_policy: Some("ACTIVE".into()), ..processor() }).ends_with("; type: unset OMP_WAIT_POLICY"));
    assert!(cores(Processor { load: Some(7.5), ..processor() }).contains("which 7.5 programs share"));
    assert!(cores(Processor { num_usable: 1, num_training: None, load: None, ..processor() }).starts_with("ok cores: 1 usable core;"));
}

fn memory() -> Memory {
    let needs = [("arithmetic", 300_000_000), ("tinystories", 2_000_000_000), ("bitnet-700m", 15_600_000_000)];
    Memory {
        total: Some(24_000_000_000),
        free: Some(16_000_000_000),
        limit: None,
        needs: needs.map(|(name, need)| (name.to_owned(), need)).into(),
        large_pages: Some("always [madvise] never".into()),
    }
}

#[test]
fn memory_is_held_against_what_the_experiments_need() {
    let said = |memory: Memory| line(&memory.checks()[0]);
    assert_eq!(said(memory()), "ok memory: 16.0 GB of 24.0 GB are free: enough for every experiment");
    let in_container = Memory { limit: Some((4_000_000_000, Limit::Container)), ..memory() };
    let expected =
        "ok memory: this container may take 4.0 GB of 24.0 GB: enough to train arithmetic and tinystories, not bitnet-700m (15.6 GB)";
    assert_eq!(said(in_container), expected);
    let limited = Memory { limit: Some((200_000_000, Limit::Process)), ..memory() };
    let expected = "error memory: ulimit -v leaves this process 0.2 GB of 24.0 GB, but even arithmetic needs 0.3 GB for training; type: ulimit -v unlimited";
    assert_eq!(said(limited), expected);
    let full = Memory { free: Some(100_000_000), ..memory() };
    assert!(said(full).ends_with("; type: just estimate arithmetic --set train.batch_size=8"));
    assert_eq!(said(Memory { needs: Vec::new(), ..memory() }), "ok memory: 16.0 GB of 24.0 GB are free");
    assert_eq!(said(Memory { limit: Some((u64::MAX, Limit::Container)), ..memory() }), said(memory()), "no limit");
}

#[test]
fn large_pages_that_are_turned_off_are_told_with_the_switch() {
    let check = |line: Option<&str>| Memory { large_pages: line.map(str::to_owned), ..memory() }.checks().remove(1);
    let off = check(Some("always madvise [never]"));
    assert!(off.verdict == Verdict::Warning && off.cure.unwrap().starts_with("echo madvise | sudo tee /sys/"));
    for fine in [Some("[always] madvise never"), Some("always [madvise] never"), None] {
        assert_eq!(check(fine).verdict, Verdict::Ok, "{fine:?}");
    }
}

fn places() -> Places {
    let hub = Hub { cache_dir: "/cache".into(), writing: Ok(()), has_token: false, is_offline: false };
    Places { free: Some(50_000_000_000), hub: Ok(hub), runs_dir: "runs".into(), runs: Ok(()) }
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let expected = [
        "ok disk: 50.0 GB are free",
        "ok hub: files go to /cache; no token is set, which public files do not need",
        "ok runs: runs can be written, locked and synced",
    ];
    assert_eq!(lines(&places().checks(true)), expected);
    let disk = |free: u64, has_libtorch: bool| Places { free: Some(free), ..places() }.checks(has_libtorch).remove(0).verdict;
    assert_eq!((disk(6_000_000_000, true), disk(6_000_000_000, false)), (Verdict::Ok, Verdict::Warning), "libtorch is to come");
    assert_eq!(disk(100_000_000, true), Verdict::Error);
    let Ok(hub) = places().hub else { panic!() };
    let bad = Places {
        hub: Ok(Hub { writing: Err("read-only".into()), has_token: true, is_offline: true, ..hub }),
        runs: Err("read-only".into()),
        ..places()
    };
    let expected = [
        "warning hub: nothing can be kept in /cache: read-only; a token is set; HF_HUB_OFFLINE keeps to what is there; type: export HF_HOME=DIRECTORY",
        "error runs: no run can be kept in runs: read-only; type: just train-arithmetic --runs-dir DIRECTORY",
    ];
    assert_eq!(lines(&bad.checks(true)[1..]), expected);
    let homeless = Places { hub: Err(("there is no home directory".into(), None)), ..places() };
    assert_eq!(homeless.checks(true)[1].verdict, Verdict::Warning);
}

#[test]
fn a_trial_leaves_nothing_behind_and_says_what_failed() {
    let dir = TempDir::new().unwrap();
    let is_empty = || fs::read_dir(dir.path()).unwrap().next().is_none();
    try_in(&dir.path().join("not/yet"), |trial| Ok(fs::write(trial.join("file"), "x")?)).unwrap();
    assert!(is_empty(), "not even the directory that was asked for");
    assert!(try_in(dir.path(), |_| Err(crate::Error::ours("no locks"))).unwrap_err().to_string().contains("no locks") && is_empty());
    fs::write(dir.path().join("file"), "").unwrap();
    for path in ["file", "file/runs"] {
        assert!(try_in(&dir.path().join(path), |_| Ok(())).is_err(), "{path}");
    }
}

#[test]
fn a_line_a_check_aligned_and_an_exit_status_by_the_worst() {
    let mut diagnosis = Diagnosis { checks: vec![Check::ok("disk", "fine"), Check::warning("large pages", "off\n\u{1b}[2J", "switch on")] };
    assert!(diagnosis.is_fine(), "a warning is no failure");
    diagnosis.checks.push(Check::error("runs", "gone", "mkdir runs"));
    assert!(!diagnosis.is_fine());
    let expected = "\
ok       disk         fine
warning  large pages  off  [2J; type: switch on
error    runs         gone; type: mkdir runs
";
    assert_eq!(diagnosis.lines().render(false), expected);
    let coloured = diagnosis.lines().render(true);
    assert!(coloured.contains("\u{1b}[31merror\u{1b}[0m    runs"), "{coloured:?}");
    let json: serde_json::Value = serde_json::from_str(&diagnosis.to_json().unwrap()).unwrap();
    assert_eq!(json["works"], false);
    let last = serde_json::json!({"name": "runs", "verdict": "error", "finding": "gone", "type": "mkdir runs"});
    assert_eq!((&json["checks"][2], &json["checks"][0]["type"]), (&last, &serde_json::Value::Null));
}

#[test]
fn names_are_listed_as_people_do() {
    assert_eq!((listed(&["a"]), listed(&["a", "b"]), listed(&["a", "b", "c"])), ("a".into(), "a and b".into(), "a, b and c".into()));
    assert_eq!(listed(&[""; 0]), "");
}

#[test]
fn every_experiment_of_the_tree_is_looked_at() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = Memory::find(root, Kernels::CpuPlain);
    let configs = fs::read_dir(root.join("experiments")).unwrap().flatten().filter(|entry| entry.path().join("config.yaml").is_file());
    assert_eq!(found.needs.len(), configs.count());
    assert!(found.needs.is_sorted_by_key(|(_, need)| *need) && found.needs[0].1 > 10_000_000, "{:?}", found.needs);
}
