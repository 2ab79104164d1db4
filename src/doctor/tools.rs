//! What builds the program and installs libtorch: Rust, a C and C++ compiler, Python with pip.

use super::check::{Check, variable};
use std::path::Path;
use std::process::{Command, Stdio};

/// The oldest Python that scripts/setup-libtorch runs on.
const OLDEST_PYTHON: [u32; 2] = [3, 8];

/// What each program says of its version; none where it is not there.
#[derive(Debug, Clone, Default)]
pub(super) struct Tools {
    pub rust: Option<String>,
    pub cpp: Option<String>,
    pub c: Option<String>,
    pub python: Option<String>,
    pub has_pip: bool,
    /// The program that installs packages, if it is one of [`INSTALLERS`].
    pub installer: Option<usize>,
}

/// A program that installs packages, and what it calls the compilers and Python with pip.
struct Installer {
    program: &'static str,
    command: &'static str,
    compilers: &'static str,
    python: &'static str,
}

const INSTALLERS: [Installer; 5] = [
    Installer { program: "apt-get", command: "sudo apt-get install -y", compilers: "gcc g++", python: "python3 python3-pip" },
    Installer { program: "dnf", command: "sudo dnf install -y", compilers: "gcc gcc-c++", python: "python3 python3-pip" },
    Installer { program: "pacman", command: "sudo pacman -S", compilers: "gcc", python: "python python-pip" },
    Installer { program: "zypper", command: "sudo zypper install -y", compilers: "gcc gcc-c++", python: "python3 python3-pip" },
    Installer { program: "brew", command: "brew install", compilers: "gcc", python: "python" },
];

impl Tools {
    pub fn find() -> Self {
        let compiler = variable("CXX").and_then(|command| command.split_whitespace().next().map(str::to_owned));
        Self {
            rust: first_line("rustc", &["--version"]),
            cpp: first_line(compiler.as_deref().unwrap_or("c++"), &["--version"]),
            c: first_line("cc", &["--version"]),
            python: first_line("python3", &["--version"]),
            has_pip: first_line("python3", &["-m", "pip", "--version"]).is_some(),
            installer: INSTALLERS.iter().position(|installer| is_on_the_path(installer.program)),
        }
    }

    /// `has_libtorch`: then Python has nothing left to install.
    pub fn checks(&self, has_libtorch: bool) -> Vec<Check> {
        vec![self.rust(), self.compiler(), self.python(has_libtorch)]
    }

    fn rust(&self) -> Check {
        const NAME: &str = "toolchain";
        let oldest = env!("CARGO_PKG_RUST_VERSION");
        let Some(found) = &self.rust else {
            return Check::error(NAME, "there is no Rust here", "curl --proto '=https' -sSf https://sh.rustup.rs | sh");
        };
        match version(found).is_none_or(|found| Some(found) >= version(oldest)) {
            true => Check::ok(NAME, format!("{found}; {oldest} or newer is needed")),
            false => Check::error(NAME, format!("{found} is too old, {oldest} or newer is needed"), "rustup update stable"),
        }
    }

    fn compiler(&self) -> Check {
        const NAME: &str = "compiler";
        match (&self.cpp, &self.c) {
            (Some(cpp), Some(_)) => Check::ok(NAME, cpp),
            (cpp, _) => {
                let missing = if cpp.is_none() { "C++ compiler" } else { "C compiler by the name of cc" };
                let otherwise = "install a C++ compiler (on macOS: xcode-select --install)";
                Check::error(NAME, format!("there is no {missing}"), self.install(otherwise, |installer| installer.compilers))
            }
        }
    }

    fn python(&self, has_libtorch: bool) -> Check {
        const NAME: &str = "python";
        let cure = || self.install("install Python 3 with pip", |installer| installer.python);
        let Some(found) = &self.python else { return Check::error(NAME, "there is no python3, which installs libtorch", cure()) };
        let [major, minor] = OLDEST_PYTHON;
        if version(found).is_some_and(|found| found < OLDEST_PYTHON) {
            return Check::error(NAME, format!("{found} is too old, {major}.{minor} or newer is needed"), cure());
        }
        match (self.has_pip, has_libtorch) {
            (true, _) => Check::ok(NAME, format!("{found} with pip")),
            (false, true) => Check::ok(NAME, format!("{found} without pip, which only installs libtorch")),
            (false, false) => Check::error(NAME, format!("{found} has no pip, which fetches libtorch"), cure()),
        }
    }

    fn install(&self, otherwise: &str, packages: impl Fn(&Installer) -> &'static str) -> String {
        let installer = self.installer.and_then(|index| INSTALLERS.get(index));
        installer.map_or_else(|| otherwise.to_owned(), |installer| format!("{} {}", installer.command, packages(installer)))
    }
}

/// Major and minor number of the first version in `text`.
pub(super) fn version(text: &str) -> Option<[u32; 2]> {
    let word = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))?;
    let mut numbers = word.split('.').map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??])
}

/// What a program that is there says first, on either stream.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| said.lines().next().unwrap_or_default().trim().to_owned())
}

fn is_on_the_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| Path::new(&dir).join(program).is_file())
}
