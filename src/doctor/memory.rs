//! Memory: what there is, within the limits that the system sets this process, against what the experiments need; and whether the
//! system has large pages.

use super::check::{Check, gigabytes};
use super::processor::listed;
use crate::config::{Kernels, Overrides, load};
use std::fs::read_to_string;
use std::path::Path;

/// What was found, in bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// What the machine has.
    pub total: Option<u64>,
    /// What nobody uses.
    pub free: Option<u64>,
    /// The least of the limits of a container and of this process, and which it is.
    pub limit: Option<(u64, Limit)>,
    /// What each experiment needs for training, by name.
    pub needs: Vec<(String, u64)>,
    /// The line of the system that says when it gives large pages: `always [madvise] never`.
    pub large_pages: Option<String>,
}

/// Who limits memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Container,
    /// `ulimit -v`.
    Process,
}

impl Memory {
    pub fn find(root: &Path, kernels: Kernels) -> Self {
        let info = read_to_string("/proc/meminfo").unwrap_or_default();
        let field = |name: &str| {
            let words = info.lines().find_map(|line| line.strip_prefix(name))?;
            Some(words.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
        };
        Self {
            total: field("MemTotal:"),
            free: field("MemAvailable:"),
            limit: [container_limit(), process_limit()].into_iter().flatten().min_by_key(|(bytes, _)| *bytes),
            needs: needs(root, kernels),
            large_pages: read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok().map(|line| line.trim().to_owned()),
        }
    }

    pub fn checks(&self) -> Vec<Check> {
        vec![self.memory(), self.large_pages()]
    }

    fn memory(&self) -> Check {
        const NAME: &str = "memory";
        let Some(total) = self.total else { return Check::ok(NAME, "the system does not say how much there is") };
        let limit = self.limit.filter(|(bytes, _)| *bytes < total);
        let most = limit.map_or(total, |(bytes, _)| bytes);
        let usable = self.free.unwrap_or(most).min(most);
        let found = match limit {
            None => format!("{} of {} are free", gigabytes(usable), gigabytes(total)),
            Some((bytes, Limit::Container)) => format!("this container may take {} of {}", gigabytes(bytes), gigabytes(total)),
            Some((bytes, Limit::Process)) => format!("ulimit -v leaves this process {} of {}", gigabytes(bytes), gigabytes(total)),
        };
        let (fits, fits_not): (Vec<_>, Vec<_>) = self.needs.iter().partition(|(_, need)| *need <= usable);
        let Some((least, need)) = self.needs.iter().min_by_key(|(_, need)| *need) else { return Check::ok(NAME, found) };
        if fits.is_empty() {
            let finding = format!("{found}, but even {least} needs {} for training", gigabytes(*need));
            let cure = match limit {
                Some((_, Limit::Process)) => "ulimit -v unlimited".to_owned(),
                _ => format!("just estimate {least} --set train.batch_size=8"),
            };
            return Check::error(NAME, finding, cure);
        }
        let fits: Vec<&str> = fits.iter().map(|(name, _)| name.as_str()).collect();
        let fits_not: Vec<String> = fits_not.iter().map(|(name, need)| format!("{name} ({})", gigabytes(*need))).collect();
        match fits_not.is_empty() {
            true => Check::ok(NAME, format!("{found}: enough for every experiment")),
            false => Check::ok(NAME, format!("{found}: enough to train {}, not {}", listed(&fits), listed(&fits_not))),
        }
    }

    fn large_pages(&self) -> Check {
        const NAME: &str = "large pages";
        match &self.large_pages {
            None => Check::ok(NAME, "the system has no setting for them"),
            Some(line) if line.contains("[never]") => {
                let cure = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled";
                Check::warning(NAME, "the system gives none, which costs weights a sixth of their speed", cure)
            }
            Some(line) if line.contains("[always]") => Check::ok(NAME, "always"),
            Some(_) => Check::ok(NAME, "where they are asked for, as weights do"),
        }
    }
}

/// The memory that each experiment needs, as far as its config can be read, the least first.
fn needs(root: &Path, kernels: Kernels) -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(root.join("experiments")).into_iter().flatten().flatten();
    let need = |entry: std::fs::DirEntry| {
        let experiment = load(entry.path().join("config.yaml"), &Overrides::default()).ok()?;
        let kernels = if experiment.likely_kernels() == Kernels::CpuCodes { kernels } else { experiment.likely_kernels() };
        Some((entry.file_name().to_string_lossy().into_owned(), experiment.estimate_for(kernels).memory_bytes))
    };
    let mut needs: Vec<_> = entries.filter_map(need).collect();
    needs.sort_by_key(|(name, need)| (*need, name.clone()));
    needs
}

/// The limit of the second version of control groups, else of the first; groups without one say `max`, or a number beyond any memory.
fn container_limit() -> Option<(u64, Limit)> {
    let text = read_to_string("/sys/fs/cgroup/memory.max").or_else(|_| read_to_string("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    Some((text.ok()?.trim().parse().ok()?, Limit::Container))
}

/// `Max address space  unlimited  unlimited  bytes`.
fn process_limit() -> Option<(u64, Limit)> {
    let text = read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    Some((line.split_whitespace().next()?.parse().ok()?, Limit::Process))
}
