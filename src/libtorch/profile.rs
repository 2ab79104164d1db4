//! Where the time of a step goes, by operator. libtorch calls back at the begin and end of each; the sums are kept in C++. How they
//! are shown is the caller's business.

use super::foreign::{bitnet_profile_start, bitnet_profile_stop, check};
use crate::Result;
use std::ffi::{CStr, c_char, c_void};
use std::time::Duration;

/// One operator's share of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorTime {
    /// Such as `aten::addmm`, `AddmmBackward0`, or the name that our own C++ has with BITNET_PROFILED.
    pub name: String,
    /// All its calls together, without the operators that it called.
    pub own_time: Duration,
    /// How often it ran.
    pub calls: u64,
}

impl OperatorTime {
    /// Its name; the backward pass of our own functions without the template around it:
    /// `torch::autograd::CppNode<(anonymous namespace)::Gate>` is `Gate backward`.
    pub fn short_name(&self) -> String {
        match self.name.split_once("CppNode<") {
            Some((before, function)) => {
                let function = function.trim_end_matches('>').rsplit("::").next().unwrap_or(function);
                format!("{}{function} backward", before.replace("torch::autograd::", ""))
            }
            None => self.name.clone(),
        }
    }
}

/// Begins to sum the time of every operator, on every thread.
///
/// # Errors
/// A profile is being taken already: there is one for the whole process.
pub fn start() -> Result<()> {
    // SAFETY: the function takes nothing.
    check(unsafe { bitnet_profile_start() })
}

/// Ends what [`start`] began: every operator that ran, the one with the most time first.
///
/// # Errors
/// No profile is being taken.
pub fn stop() -> Result<Vec<OperatorTime>> {
    let mut operators: Vec<OperatorTime> = Vec::new();
    // SAFETY: `take` is called with this list and C strings before the call returns, and by no other thread.
    check(unsafe { bitnet_profile_stop((&raw mut operators).cast(), take) })?;
    operators.sort_by(|one, other| other.own_time.cmp(&one.own_time).then_with(|| one.name.cmp(&other.name)));
    Ok(operators)
}

/// Adds an operator to the list that [`stop`] handed over.
unsafe extern "C" fn take(into: *mut c_void, name: *const c_char, nanoseconds: u64, calls: u64) {
    // SAFETY: `into` is the list of `stop`, and `name` a C string that lives for this call.
    let (operators, name) = unsafe { (&mut *into.cast::<Vec<OperatorTime>>(), CStr::from_ptr(name)) };
    operators.push(OperatorTime { name: name.to_string_lossy().into_owned(), own_time: Duration::from_nanos(nanoseconds), calls });
}
