//! What has to be seen on a GPU before it is trusted, in parts that each run in a process of their own: a GPU that one part has crashed
//! serves the next, and the most memory that a part took is its own. Owns which parts there are; what each looks at is in its own file,
//! how they are run and written down that of `supervise` and `finding`. On a CPU the same parts run at smaller sizes.

mod codes;
mod finding;
mod gradients;
mod losses;
mod models;
mod operators;
mod resume;
mod setting;
mod speed;
mod supervise;
mod surroundings;

pub use finding::{Finding, Report, Verdict};
pub use models::{Scale, Shape, Weights};
pub use setting::Setting;
pub use supervise::{Supervisor, check_gpu};

use crate::model::select_device;
use crate::{Error, Result};

/// Something to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Which device this is, and what it can do at best.
    Surroundings,
    /// The codes of both quantizers against the CPU's.
    Codes,
    /// The gradients of a step against the CPU's.
    Gradients,
    /// The losses of 50 steps of arithmetic against the CPU's.
    ArithmeticLosses,
    /// The same of the 12M model.
    SmallLosses,
    /// Tokens a second, share of the peak, and memory.
    Speed(Shape, Weights),
    /// Where the time of a step goes.
    Operators,
    /// Stopping and going on.
    Resume,
}

impl Part {
    /// All of them, those first without which the rest means nothing.
    pub fn all() -> Vec<Self> {
        let mut parts = vec![Self::Surroundings, Self::Codes, Self::Gradients, Self::ArithmeticLosses, Self::SmallLosses];
        parts.extend(Shape::ALL.iter().flat_map(|shape| [Weights::Ternary, Weights::Full].map(|weights| Self::Speed(*shape, weights))));
        parts.extend([Self::Operators, Self::Resume]);
        parts
    }

    /// As it is named on the command line and in the results.
    pub fn name(self) -> String {
        match self {
            Self::Surroundings => "surroundings".to_owned(),
            Self::Codes => "codes".to_owned(),
            Self::Gradients => "gradients".to_owned(),
            Self::ArithmeticLosses => "losses-arithmetic".to_owned(),
            Self::SmallLosses => "losses-12m".to_owned(),
            Self::Speed(shape, weights) => format!("speed-{}-{}", shape.name(), weights.name()),
            Self::Operators => "operators".to_owned(),
            Self::Resume => "resume".to_owned(),
        }
    }

    /// The part of that name.
    ///
    /// # Errors
    /// The user's: there is none.
    pub fn named(name: &str) -> Result<Self> {
        let names = || Self::all().into_iter().map(Self::name).collect::<Vec<_>>().join(", ");
        let found = Self::all().into_iter().find(|part| part.name() == name);
        found.ok_or_else(|| Error::input(format!("there is no part {name}")).hint(format!("the parts are {}", names())))
    }

    /// Looks at it, in this process.
    ///
    /// # Errors
    /// The device is absent, or failed. That something was found wrong is no error, but in the finding.
    pub fn look(self, setting: &Setting) -> Result<Finding> {
        let device = select_device(setting.device)?;
        match self {
            Self::Surroundings => surroundings::look(device),
            Self::Codes => codes::look(device, setting.scale),
            Self::Gradients => gradients::look(device, setting.scale),
            Self::ArithmeticLosses => losses::look_at_arithmetic(device, setting.scale),
            Self::SmallLosses => losses::look_at_small(device, setting.scale),
            Self::Speed(shape, weights) => speed::look(device, setting.scale, shape, weights),
            Self::Operators => operators::look(device, setting.scale),
            Self::Resume => resume::look(setting, device),
        }
    }

    /// What its process finds in its environment, beside what this one has.
    fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            // The CPU computes as a GPU does, by libtorch's own operations, so that only rounding differs.
            Self::Gradients => &[("BITNET_MATMUL", "none")],
            // A GPU's operators take their time after they have returned, unless each is waited for.
            Self::Operators => &[("CUDA_LAUNCH_BLOCKING", "1")],
            _ => &[],
        }
    }
}
