//! `--help` of every binary is what was reviewed. `UPDATE_SNAPSHOTS=1 just test tests/help.rs` writes tests/snapshots anew.

use assert_cmd::Command;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn program(name: &str) -> Command {
    let path = match name {
        "check-status" => env!("CARGO_BIN_EXE_check-status"),
        "plot-loss" => env!("CARGO_BIN_EXE_plot-loss"),
        "estimate" => env!("CARGO_BIN_EXE_estimate"),
        "train-tokenizer" => env!("CARGO_BIN_EXE_train-tokenizer"),
        "export" => env!("CARGO_BIN_EXE_export"),
        "import" => env!("CARGO_BIN_EXE_import"),
        "inspect" => env!("CARGO_BIN_EXE_inspect"),
        "generate" => env!("CARGO_BIN_EXE_generate"),
        "bench-inference" => env!("CARGO_BIN_EXE_bench-inference"),
        "serve" => env!("CARGO_BIN_EXE_serve"),
        "doctor" => env!("CARGO_BIN_EXE_doctor"),
        #[cfg(feature = "torch")]
        "train" => env!("CARGO_BIN_EXE_train"),
        #[cfg(feature = "torch")]
        "evaluate" => env!("CARGO_BIN_EXE_evaluate"),
        #[cfg(feature = "torch")]
        "check-gpu" => env!("CARGO_BIN_EXE_check-gpu"),
        "chat" => env!("CARGO_BIN_EXE_chat"),
        #[cfg(feature = "torch")]
        "new-model" => env!("CARGO_BIN_EXE_new-model"),
        _ => panic!("{name} is not built with these features"),
    };
    let mut command = Command::new(path);
    command.env("COLUMNS", "100").env("NO_COLOR", "1");
    command
}

fn help_is_as_reviewed(name: &str) {
    let output = program(name).arg("--help").assert().success().get_output().stdout.clone();
    let help = String::from_utf8(output).unwrap();
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/{name}.txt"));
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &help).unwrap();
    }
    let reviewed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(help, reviewed, "--help of {name} differs from {}; UPDATE_SNAPSHOTS=1 accepts it", path.display());
    assert!(help.contains("Examples:"), "{name} has no examples");
}

fn has_completions_and_a_version(name: &str) {
    for shell in ["bash", "zsh", "fish"] {
        let output = program(name).args(["--completions", shell]).assert().success().get_output().stdout.clone();
        assert!(String::from_utf8(output).unwrap().contains(name), "{shell}");
    }
    program(name).arg("--version").assert().success().stdout(format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
}

/// One module of tests a binary.
macro_rules! binaries {
    ($($module:ident $name:literal),*) => {$(
        mod $module {
            #[test]
            fn help_is_as_reviewed() {
                super::help_is_as_reviewed($name);
            }

            #[test]
            fn completions_and_version_are_printed() {
                super::has_completions_and_a_version($name);
            }
        }
    )*};
}

binaries!(check_status "check-status", plot_loss "plot-loss", estimate "estimate");
binaries!(train_tokenizer "train-tokenizer", generate "generate", chat "chat", bench_inference "bench-inference", export "export", import "import", inspect "inspect");
binaries!(serve "serve", doctor "doctor");
#[cfg(feature = "torch")]
binaries!(train "train", evaluate "evaluate", new_model "new-model", check_gpu "check-gpu");
