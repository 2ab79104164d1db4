//! File systems for tests: one that lets a test answer calls in its place, one whose n-th call fails, one that forgets what was not
//! synced. They are part of the library because the tests of every module and of whole programs stand on them; nothing else uses them.

mod failing;
mod forgetful;
mod forgetful_nodes;
mod intercepted;
mod random;

pub use failing::{FailingFileSystem, Failure};
pub use forgetful::ForgetfulFileSystem;
pub use intercepted::{Answer, Call, InterceptedFileSystem, Operation};
pub use random::SplitMix64;
