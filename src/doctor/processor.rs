//! The processor: which kernels compute here in inference and in training and what it lacks for better ones, how many cores there are,
//! and what waits actively on them.

use super::check::{Check, variable};
use crate::config::Kernels;
use crate::ternary::kernels::Kernel;
use std::collections::BTreeSet;

/// What processors of its kind have at best: a name for people, and the flag by which Linux lists it.
const FOR_INFERENCE: [(&str, &str); 3] = [("AVX2", "avx2"), ("AVX-512 VNNI", "avx512_vnni"), ("AMX", "amx_int8")];
const FOR_TRAINING: [(&str, &str); 3] = [("AVX-512 VNNI", "avx512_vnni"), ("AVX-512 BF16", "avx512_bf16"), ("AMX", "amx_int8")];

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Processor {
    /// As the system calls it.
    pub model: Option<String>,
    /// What it has, of an x86-64 under Linux; else nothing.
    pub flags: BTreeSet<String>,
    /// The kernel of packed matrices, or why there is none.
    pub inference: Result<String, String>,
    /// The best that it could use.
    pub best_inference: String,
    pub training: Training,
    /// Threads that run at the same time, within the limits of a container.
    pub num_usable: usize,
    /// The threads that libtorch takes, if this program is built with it.
    pub num_training: Option<usize>,
    /// What the variables say that hold for libtorch's threads.
    pub wait_policy: Option<String>,
    pub asked_threads: Option<String>,
    /// The mean number of programs that wanted to run in the last minute.
    pub load: Option<f64>,
}

/// What computes integer products in training.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Training {
    /// This program is built without libtorch.
    #[default]
    Unknown,
    /// The operations of libtorch.
    Plain { asked: Option<String> },
    /// Our kernels for these instructions.
    Kernels { name: String, asked: Option<String> },
}

impl Processor {
    pub fn find() -> Self {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.split_once(": ")?.1.trim().to_owned()));
        let load = std::fs::read_to_string("/proc/loadavg").ok();
        Self {
            model: field("model name"),
            flags: field("flags").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            inference: Kernel::best().map(|kernel| kernel.to_string()).map_err(|error| error.to_string()),
            best_inference: Kernel::usable().last().map(|kernel| kernel.to_string()).unwrap_or_default(),
            training: find_training(variable("BITNET_MATMUL")),
            num_usable: std::thread::available_parallelism().map_or(1, usize::from),
            num_training: num_training_threads(),
            wait_policy: variable("OMP_WAIT_POLICY"),
            asked_threads: variable("OMP_NUM_THREADS"),
            load: load.and_then(|text| text.split_whitespace().next()?.parse().ok()),
        }
    }

    /// What the memory of a step is estimated for.
    pub fn training_kernels(&self) -> Kernels {
        match (&self.training, self.lacks(&FOR_TRAINING[..2]).is_empty()) {
            (Training::Kernels { .. }, _) | (Training::Unknown, true) => Kernels::CpuCodes,
            _ => Kernels::CpuPlain,
        }
    }

    pub fn checks(&self) -> Vec<Check> {
        vec![self.training_check(), self.inference_check(), self.cores()]
    }

    fn training_check(&self) -> Check {
        const NAME: &str = "training";
        let lacking = self.lacking(&FOR_TRAINING);
        let asked = |asked: &Option<String>| asked.as_ref().map(|value| format!(", as BITNET_MATMUL={value} asks"));
        let (finding, asked) = match &self.training {
            Training::Unknown => {
                let finding = format!("this program is built without libtorch, so training's kernels are not known{lacking}");
                return Check::ok(NAME, finding);
            }
            Training::Plain { asked: variable } => ("libtorch's own operations".to_owned(), asked(variable)),
            Training::Kernels { name, asked: variable } => (format!("integer products by {name}"), asked(variable)),
        };
        match asked {
            Some(asked) => Check::warning(NAME, format!("{finding}{asked}{lacking}"), "unset BITNET_MATMUL"),
            None => Check::ok(NAME, format!("{finding}{lacking}")),
        }
    }

    fn inference_check(&self) -> Check {
        const NAME: &str = "inference";
        let lacking = self.lacking(&FOR_INFERENCE);
        match &self.inference {
            Err(error) => Check::error(NAME, error, "unset BITNET_KERNEL"),
            Ok(name) if *name != self.best_inference => {
                let finding = format!("packed matrices by {name}, though {} is there, as BITNET_KERNEL asks", self.best_inference);
                Check::warning(NAME, finding, "unset BITNET_KERNEL")
            }
            Ok(name) => Check::ok(NAME, format!("packed matrices by {name}{lacking}")),
        }
    }

    /// `; the EPYC lacks AMX`, or nothing.
    fn lacking(&self, wanted: &[(&str, &str)]) -> String {
        let processor = self.model.as_ref().map_or_else(|| "this processor".to_owned(), |model| format!("this {model}"));
        match self.lacks(wanted) {
            lacks if lacks.is_empty() || self.flags.is_empty() => String::new(),
            lacks => format!("; {processor} lacks {}", listed(&lacks)),
        }
    }

    fn lacks<'a>(&self, wanted: &[(&'a str, &str)]) -> Vec<&'a str> {
        wanted.iter().filter(|(_, flag)| !self.flags.contains(*flag)).map(|(name, _)| *name).collect()
    }

    fn cores(&self) -> Check {
        const NAME: &str = "cores";
        let usable = self.num_usable;
        let found = format!("{usable} usable {}", if usable == 1 { "core" } else { "cores" });
        if let Some(threads) = self.num_training.filter(|&threads| threads > usable) {
            let finding = format!("{found}, but libtorch starts {threads} threads, which wait actively for each other");
            return match &self.asked_threads {
                Some(_) => Check::warning(NAME, finding, "unset OMP_NUM_THREADS"),
                None => Check::warning(NAME, finding, format!("export OMP_NUM_THREADS={usable}")),
            };
        }
        if self.wait_policy.as_ref().is_some_and(|policy| policy.eq_ignore_ascii_case("active")) {
            let finding = format!("{found}; OMP_WAIT_POLICY=active lets libtorch's threads spin for as long as they have nothing to do");
            return Check::warning(NAME, finding, "unset OMP_WAIT_POLICY");
        }
        match self.load.filter(|&load| load > usable as f64) {
            Some(load) => {
                let finding = format!("{found}, which {load:.1} programs share: threads that wait actively then slow each other down");
                Check::warning(NAME, finding, "top")
            }
            None => Check::ok(NAME, format!("{found}; threads wait actively for a moment between two operations, then sleep")),
        }
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn find_training(asked: Option<String>) -> Training {
    match integer_products() {
        None => Training::Unknown,
        Some(None) => Training::Plain { asked },
        Some(Some(name)) => Training::Kernels { name: name.to_owned(), asked },
    }
}

/// None where nobody can say.
#[cfg(feature = "torch")]
fn integer_products() -> Option<Option<&'static str>> {
    Some(crate::libtorch::integer_products())
}

#[cfg(not(feature = "torch"))]
fn integer_products() -> Option<Option<&'static str>> {
    None
}

#[cfg(feature = "torch")]
fn num_training_threads() -> Option<usize> {
    usize::try_from(tch::get_num_threads()).ok()
}

#[cfg(not(feature = "torch"))]
fn num_training_threads() -> Option<usize> {
    None
}
