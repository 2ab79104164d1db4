//! The libtorch that training is built with: whether it is there, whole and of the right version, and whether it suits the GPU.

use super::check::{Check, variable};
use super::tools::version;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the bindings are written against.
pub(super) const VERSION: &str = "2.11.0";
/// The oldest NVIDIA driver that knows its CUDA.
const OLDEST_DRIVER: u32 = 580;
const NAME: &str = "libtorch";

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Libtorch {
    pub install: Install,
    /// The version of the NVIDIA driver that is loaded.
    pub driver: Option<String>,
    /// What came of looking for a GPU by libtorch itself, where this program is built with it and has reason to look.
    pub gpu: Option<Result<(), String>>,
}

/// Where libtorch comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Install {
    /// By scripts/setup-libtorch; none of it, or a stamp with the first file that is not as it says.
    Ours { stamp: Option<Stamp>, problem: Option<String> },
    /// By the user, in the directory that LIBTORCH names.
    Named { dir: PathBuf, has_libraries: bool, version: Option<String>, has_cuda: bool },
}

/// What scripts/setup-libtorch wrote when it was done.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Stamp {
    pub version: String,
    /// `cpu` or `cuda`.
    pub variant: String,
    /// Sizes of all files.
    pub files: BTreeMap<String, u64>,
}

impl Libtorch {
    pub fn find(root: &Path) -> Self {
        let driver = nvidia_driver();
        let gpu = driver.as_ref().and_then(|_| look_for_gpu());
        Self { install: Install::find(&root.join(".libtorch"), variable("LIBTORCH")), driver, gpu }
    }

    /// Whether training can be built with it.
    pub fn is_whole(&self) -> bool {
        self.defect().is_none()
    }

    pub fn check(&self) -> Check {
        match self.defect() {
            Some((finding, cure)) => Check::error(NAME, finding, cure),
            None => self.with_its_gpu(),
        }
    }

    /// What keeps training from being built, and what to type.
    fn defect(&self) -> Option<(String, &'static str)> {
        match &self.install {
            Install::Ours { stamp: None, .. } => {
                Some(("it is not installed: training needs it, chat, generate and serve do not".into(), "just setup"))
            }
            Install::Ours { problem: Some(problem), .. } => Some((format!("the installation is not whole: {problem}"), "just setup")),
            Install::Ours { stamp: Some(stamp), .. } if stamp.version != VERSION => {
                Some((format!("version {} is installed, {VERSION} is needed", stamp.version), "just setup"))
            }
            Install::Named { dir, has_libraries: false, .. } => {
                Some((format!("LIBTORCH={} has no lib directory", dir.display()), "unset LIBTORCH && just setup"))
            }
            Install::Named { dir, version: Some(version), .. } if version != VERSION => {
                let finding = format!("LIBTORCH={} is version {version}, {VERSION} is needed", dir.display());
                Some((finding, "unset LIBTORCH && just setup"))
            }
            _ => None,
        }
    }

    fn with_its_gpu(&self) -> Check {
        let (what, has_cuda) = match &self.install {
            Install::Ours { stamp, .. } => {
                let has_cuda = stamp.as_ref().is_some_and(|stamp| stamp.variant == "cuda");
                (format!("{VERSION}, whole, for {}", if has_cuda { "CPU and CUDA" } else { "CPU" }), has_cuda)
            }
            Install::Named { dir, version: None, .. } => {
                let finding = format!("nothing in LIBTORCH={} says its version; {VERSION} is needed", dir.display());
                return Check::warning(NAME, finding, format!("cat {}/build-version", dir.display()));
            }
            Install::Named { dir, has_cuda, .. } => (format!("{VERSION} by LIBTORCH={}", dir.display()), *has_cuda),
        };
        let Some(driver) = &self.driver else {
            return Check::ok(NAME, format!("{what}; there is no NVIDIA driver"));
        };
        if version(driver).is_some_and(|[major, _]| major < OLDEST_DRIVER) {
            let finding = format!("{what}; the NVIDIA driver {driver} is too old for its CUDA, {OLDEST_DRIVER} is needed");
            return Check::warning(NAME, finding, "nvidia-smi");
        }
        match (&self.gpu, has_cuda) {
            (_, false) => Check::warning(NAME, format!("{what}, beside an NVIDIA driver {driver}"), "scripts/setup-libtorch --cuda"),
            (Some(Err(reason)), true) => Check::warning(NAME, format!("{what}, but no GPU answers: {reason}"), "nvidia-smi"),
            (_, true) => Check::ok(NAME, format!("{what}; NVIDIA driver {driver}")),
        }
    }
}

impl Install {
    /// `named` is LIBTORCH; cargo sets it to our own installation where the user does not.
    pub fn find(own: &Path, named: Option<String>) -> Self {
        let is_own = |named: &Path| named.components().eq(own.join("torch").components()) || named == Path::new(".libtorch/torch");
        if let Some(dir) = named.map(PathBuf::from).filter(|named| !is_own(named)) {
            let version = std::fs::read_to_string(dir.join("build-version")).ok();
            let version = version.and_then(|text| text.trim().split('+').next().map(str::to_owned));
            let has_cuda = ["lib", "lib-cuda"].iter().any(|lib| dir.join(lib).join("libtorch_cuda.so").exists());
            return Self::Named { has_libraries: dir.join("lib").is_dir(), version, has_cuda, dir };
        }
        let stamp = std::fs::read(own.join("setup.json")).ok().and_then(|bytes| serde_json::from_slice::<Stamp>(&bytes).ok());
        let stamp = stamp.filter(|stamp| !stamp.files.is_empty());
        let problem = stamp.as_ref().and_then(|stamp| first_problem(own, stamp));
        Self::Ours { stamp, problem }
    }
}

/// The first file that is not as the stamp says.
fn first_problem(own: &Path, stamp: &Stamp) -> Option<String> {
    stamp.files.iter().find_map(|(name, size)| match std::fs::metadata(own.join(name)) {
        Err(_) => Some(format!("{name} is missing")),
        Ok(found) if found.len() != *size => Some(format!("{name} has {} bytes, not {size}", found.len())),
        Ok(_) => None,
    })
}

/// Linux says which driver is loaded.
fn nvidia_driver() -> Option<String> {
    let version = std::fs::read_to_string("/sys/module/nvidia/version").ok()?;
    Some(version.trim().to_owned()).filter(|version| !version.is_empty())
}

#[cfg(feature = "torch")]
fn look_for_gpu() -> Option<Result<(), String>> {
    Some(crate::libtorch::cuda().map(drop).map_err(|error| error.to_string()))
}

#[cfg(not(feature = "torch"))]
fn look_for_gpu() -> Option<Result<(), String>> {
    None
}
