//! scripts/setup-libtorch, run on tiny wheels in a directory of its own: what it unpacks, what it notices, what it refuses. The real
//! wheels are fetched by `just setup` alone. Also what `just test` makes of its arguments.

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::TempDir;

/// A directory with a wheel of two headers and four libraries, the list that pins it, and room for an installation.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: TempDir::new().unwrap() };
        bench.make_wheel();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn root(&self) -> PathBuf {
        self.path("install/.libtorch")
    }

    /// Python writes the wheel, its hash and its pin.
    fn make_wheel(&self) {
        let system = match (std::env::consts::OS, std::env::consts::ARCH) {
            ("macos", _) => "macos-arm64".to_owned(),
            (_, machine) => format!("linux-{machine}"),
        };
        let program = r##"
import hashlib, sys, zipfile
members = {"torch/include/ATen/ATen.h": "1", "torch/include/torch/custom_function.h": "22", "torch/lib/libtorch_cpu.so": "cpu",
           "torch/lib/libtorch.so": "real", "torch/lib/libtorch_cuda.so": "cuda", "torch/lib/libtorch_cuda_linalg.so": "linalg",
           "torch/lib/libcaffe2_nvrtc.so": "nvrtc", "torch/lib/libtorch_python.so": "python", "torch/nn/__init__.py": "",
           "nvidia/cu13/lib/libcudart.so.13": "cudart", "nvidia/cu13/lib/libcufft.so.12": "cufft", "torch/include/../../../escaped": "no"}
with zipfile.ZipFile("torch-2.11.0-cp312-cp312-any.whl", "w") as wheel:
    for name, text in members.items():
        wheel.writestr(name, text)
digest = hashlib.sha256(open("torch-2.11.0-cp312-cp312-any.whl", "rb").read()).hexdigest()
open("pins.txt", "w").write(f"# a comment\n{sys.argv[1]} cpu torch==2.11.0 any {digest}\n")
"##;
        Command::new("python3").args(["-c", program, &system]).current_dir(self.dir.path()).assert().success();
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = Command::new("python3");
        command.arg(script("setup-libtorch")).args(flags).env_remove("LIBTORCH");
        command.arg("--root").arg(self.root()).arg("--wheels").arg(self.dir.path()).arg("--pins").arg(self.path("pins.txt"));
        command
    }

    fn run(&self, flags: &[&str]) -> Assert {
        self.command(flags).assert()
    }

    fn installed() -> Self {
        let bench = Self::new();
        bench.run(&["--cpu"]).success();
        bench
    }

    fn has(&self, name: &str) -> bool {
        self.root().join(name).exists()
    }

    fn modified(&self, name: &str) -> SystemTime {
        fs::metadata(self.root().join(name)).unwrap().modified().unwrap()
    }
}

/// What befalls a file.
type Damage = fn(&Path);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

fn stderr(assert: &Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

#[test]
fn an_installation_has_what_the_cpu_needs_and_nothing_else() {
    let bench = Bench::installed();
    for name in ["torch/include/ATen/ATen.h", "torch/lib/libtorch_cpu.so", "nvidia/cu13/lib/libcudart.so.13", "setup.json"] {
        assert!(bench.has(name), "{name}");
    }
    for name in
        ["torch/lib-cuda", "torch/lib/libtorch_cuda.so", "torch/lib/libtorch_python.so", "torch/nn", "nvidia/cu13/lib/libcufft.so.12"]
    {
        assert!(!bench.has(name), "{name}");
    }
    assert_eq!(fs::read_to_string(bench.root().join("torch/build-version")).unwrap(), "2.11.0\n");
    assert!(!bench.path("escaped").exists() && !bench.path("install/escaped").exists(), "a member left the directory");
}

#[test]
#[cfg(target_os = "linux")]
fn the_cuda_part_stays_out_of_the_directory_that_is_linked() {
    let bench = Bench::new();
    bench.run(&["--cuda"]).success(); // the list of this test pins no NVIDIA wheel; torch's own CUDA libraries are enough here
    assert!(bench.has("torch/lib-cuda/libtorch_cuda.so") && !bench.has("torch/lib/libtorch_cuda.so"));
    assert!(bench.has("torch/lib/libtorch_cuda_linalg.so"), "libtorch_cpu opens it by name and looks in lib/ alone");
    assert!(bench.has("nvidia/cu13/lib/libcufft.so.12"));
}

#[test]
fn a_second_call_changes_nothing_and_says_nothing() {
    let bench = Bench::installed();
    let before = bench.modified("torch/lib/libtorch_cpu.so");
    fs::remove_file(bench.path("pins.txt")).unwrap(); // neither list nor wheel is needed any more
    assert_eq!(stderr(&bench.run(&[]).success()), "");
    assert_eq!(bench.modified("torch/lib/libtorch_cpu.so"), before);
    bench.run(&["--check"]).success();
}

#[test]
fn a_missing_file_a_short_file_and_a_damaged_stamp_are_noticed_and_mended() {
    let bench = Bench::installed();
    let damages: [(&str, &str, Damage); 3] = [
        ("torch/include/ATen/ATen.h", "is missing", |path| fs::remove_file(path).unwrap()),
        ("torch/lib/libtorch_cpu.so", "has 2 bytes, not 3", |path| fs::write(path, "cp").unwrap()),
        ("setup.json", "missing or damaged", |path| fs::write(path, "{\"version\": \"2.11.0\"").unwrap()),
    ];
    for (name, message, damage) in damages {
        damage(&bench.root().join(name));
        let checked = bench.run(&["--check"]).code(1);
        assert!(stderr(&checked).contains(message), "{name}: {}", stderr(&checked));
        bench.run(&["--cpu"]).success();
        bench.run(&["--check"]).success();
    }
}

#[test]
fn a_wheel_with_another_hash_is_refused_and_nothing_is_installed() {
    let bench = Bench::new();
    let wheel = bench.path("torch-2.11.0-cp312-cp312-any.whl");
    let mut bytes = fs::read(&wheel).unwrap();
    bytes[40] ^= 1;
    fs::write(&wheel, bytes).unwrap();
    let refused = bench.run(&["--cpu"]).code(1);
    assert!(stderr(&refused).contains("is not the pinned wheel"), "{}", stderr(&refused));
    assert!(!bench.root().exists());
}

#[test]
fn what_an_interrupted_call_left_behind_is_removed() {
    let bench = Bench::new();
    let stale = bench.path("install/.libtorch.partial-999999");
    fs::create_dir_all(stale.join("new/torch")).unwrap();
    bench.run(&["--cpu"]).success();
    assert!(!stale.exists());
    let left: Vec<_> = fs::read_dir(bench.path("install")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the installation and its lock: {left:?}");
}

#[test]
fn two_calls_at_once_install_once() {
    let bench = Bench::new();
    let outputs: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..2).map(|_| scope.spawn(|| stderr(&bench.run(&["--cpu"]).success()))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(outputs.iter().filter(|output| output.contains("is in place")).count(), 1, "{outputs:?}");
    bench.run(&["--check"]).success();
}

#[test]
fn a_libtorch_of_the_users_own_is_respected_and_its_version_checked() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("lib")).unwrap();
    let run = |version: &str| {
        fs::write(dir.path().join("build-version"), version).unwrap();
        Command::new("python3").arg(script("setup-libtorch")).env("LIBTORCH", dir.path()).assert()
    };
    assert!(stderr(&run("2.11.0+cpu\n").success()).contains("version 2.11.0"));
    assert!(stderr(&run("2.4.1\n").code(2)).contains("2.11.0 is needed"));
}

#[test]
fn a_missing_compiler_is_named_with_the_command_that_installs_it() {
    let bench = Bench::new();
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap().stdout;
    let mut command = Command::new(String::from_utf8(python).unwrap().trim());
    command.arg(script("setup-libtorch")).arg("--root").arg(bench.root()).arg("--wheels").arg(bench.dir.path());
    let refused = command.env_remove("LIBTORCH").env_remove("CXX").env("PATH", bench.dir.path()).assert().code(2);
    assert!(stderr(&refused).contains("missing on this machine: c++, cc") && stderr(&refused).contains("hint: "), "{}", stderr(&refused));
}

#[test]
fn the_test_runner_refuses_a_file_that_is_not_there_and_names_those_that_are() {
    for word in ["tests/nothing.rs", "src/error.rs", "tests/../tests/setup.rs", "tests/set up.rs"] {
        let refused = Command::new("sh").arg(script("run-tests")).arg(word).assert().code(2);
        assert!(stderr(&refused).contains(word) && stderr(&refused).contains("tests/setup.rs"), "{}", stderr(&refused));
    }
    let refused = Command::new("sh").arg(script("run-tests")).arg("-k").assert().code(2);
    assert!(stderr(&refused).contains("-k needs"), "{}", stderr(&refused));
}

/// The runner on a processor with these instructions and a cargo that prints what it was given.
#[cfg(unix)]
fn runner_on(flags: &str, words: &[&str]) -> Assert {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let cargo = dir.path().join("cargo");
    let variables = ["BITNET_MATMUL", "BITNET_KERNEL", "BITNET_DENSE", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR"];
    fs::write(&cargo, format!("#!/bin/sh\necho \"$*\" {}\n", variables.map(|name| format!("\"${name}\"")).join(" "))).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let cpuinfo = dir.path().join("cpuinfo");
    fs::write(&cpuinfo, format!("model name\t: some\nflags\t\t: fpu {flags} sse\nflags\t\t: fpu\n")).unwrap();
    let mut command = Command::new("sh");
    for name in variables {
        command.env_remove(name);
    }
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    command.arg(script("run-tests")).args(words).env("PATH", path).env("BITNET_CPUINFO", cpuinfo).assert()
}

#[cfg(unix)]
const AVX512: &str = "avx2 fma avx512f avx512bw avx512dq avx512vl avx512_vnni";

#[test]
#[cfg(unix)]
fn the_test_runner_runs_as_a_lesser_processor_in_every_part_at_once() {
    let said = |flags: &str, words: &[&str]| String::from_utf8(runner_on(flags, words).success().get_output().stdout.clone()).unwrap();
    let amx = format!("{AVX512} amx_tile amx_int8");
    assert_eq!(
        said(&amx, &["--as", "avx512", "decoder"]),
        "test --release --test numerics -- decoder:: avx512 avx512 avx512 avx512 AVX512_CORE_BF16 AVX512\n"
    );
    assert_eq!(said(AVX512, &["src", "--as", "avx2"]), "test --release --lib -- none avx2 avx2 avx2 AVX2 AVX2\n");
    assert_eq!(said("", &["--as", "portable"]), "test --release -- none portable portable default SSE41 COMPATIBLE\n");
    assert_eq!(said(&amx, &["--lesser-levels"]), "avx512\navx2\nportable\n");
    assert_eq!(said(AVX512, &["--lesser-levels"]), "avx2\nportable\n");
    assert_eq!(said("avx2 fma", &["--lesser-levels"]), "portable\n");
    assert_eq!(said("avx2 fma avx_vnni", &["--lesser-levels"]), "avx2\nportable\n");
}

#[test]
#[cfg(unix)]
fn the_test_runner_refuses_levels_that_the_processor_lacks_or_that_there_are_not() {
    for (flags, word, said) in [
        ("avx2 fma", "avx512", "error: this processor has no avx512\nhint: just test --as takes what it has: avx2 portable"),
        ("avx2", "avx2", "error: this processor has no avx2\nhint: just test --as takes what it has: portable"),
        (AVX512, "amx", "this processor has no amx"),
        (AVX512, "sse", "error: there is no level 'sse'\nhint: the levels are, from the best to the plainest, amx avx512 avx2 portable"),
    ] {
        let refused = runner_on(flags, &["--as", word]).code(2);
        assert!(stderr(&refused).contains(said), "{}", stderr(&refused));
    }
    assert!(stderr(&runner_on("", &["--as"]).code(2)).contains("--as needs a level"));
}

#[test]
#[cfg(unix)]
fn the_test_runner_turns_files_and_names_into_cargos_arguments() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let cargo = dir.path().join("cargo");
    let lists = "echo 'setup::x_y: test'; echo 'setup::other: test'; echo 'resume::x_z: test'";
    fs::write(&cargo, format!("#!/bin/sh\ncase \"$*\" in *--list*) {lists} ;; *) printf '<%s>' \"$@\" ;; esac\n")).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let given = |words: &[&str]| {
        let output = Command::new("sh").arg(script("run-tests")).args(words).env("PATH", &path).output().unwrap();
        String::from_utf8(output.stdout).unwrap().replace("<--release>", "")
    };
    assert_eq!(given(&[]), "<test><-->");
    assert_eq!(given(&["tests/setup.rs", "architecture"]), "<test><--test><everyday><--><setup::><architecture::>");
    assert_eq!(given(&["tests/fused.rs", "resume"]), "<test><--test><fused><--test><runs><--><fused::><resume::>");
    assert_eq!(given(&["src", "setup"]), "<test><--lib><--><test><--test><everyday><--><setup::>");
    assert_eq!(given(&["-k", "causal", "-k", "run::status"]), "<test><--><causal><run::status>");
    let of_one_file = "<test><--test><everyday><--><--exact><setup::x_y><--skip><a b>";
    assert_eq!(given(&["tests/setup.rs", "-k", "x", "--", "--skip", "a b"]), of_one_file);
    assert_eq!(given(&["tests/setup.rs", "-k", "nothing"]), "", "a name that no test has is refused");
}
