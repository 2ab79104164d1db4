//! A request to stop, from a signal: the loop looks at it between phases. A second signal ends the process at once.

use crate::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Exit status of a process that a second signal ended.
const ENDED_AT_ONCE: i32 = 130;

/// Whether, and how, the run was asked to stop.
#[derive(Debug, Clone, Default)]
pub struct StopSignal {
    signal: Arc<AtomicUsize>,
}

/// Who asked the run to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// A person at the terminal (SIGINT).
    Interrupt,
    /// A scheduler or a shutdown (SIGTERM), which may start the run again.
    Terminate,
    /// A scheduler that warns before it terminates (SIGUSR1).
    Warning,
}

impl StopReason {
    /// 0 for a person; 75 ("temporary failure, try again") for a scheduler, so that it requeues the run.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Interrupt => 0,
            Self::Terminate | Self::Warning => 75,
        }
    }

    /// For logs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "interrupted (SIGINT)",
            Self::Terminate => "asked to terminate (SIGTERM)",
            Self::Warning => "warned by the scheduler (SIGUSR1)",
        }
    }
}

impl StopSignal {
    /// A flag that SIGINT, SIGTERM and SIGUSR1 raise from now on.
    pub fn listen() -> Result<Self> {
        let stop = Self::default();
        let is_second = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGUSR1] {
            flag::register_conditional_shutdown(signal, ENDED_AT_ONCE, is_second.clone()).context(|| "listening for signals")?;
            flag::register_usize(signal, stop.signal.clone(), signal as usize).context(|| "listening for signals")?;
            flag::register(signal, is_second.clone()).context(|| "listening for signals")?;
        }
        Ok(stop)
    }

    /// Asks as a signal would, from inside the process.
    pub fn request(&self, reason: StopReason) {
        let signal = match reason {
            StopReason::Interrupt => SIGINT,
            StopReason::Terminate => SIGTERM,
            StopReason::Warning => SIGUSR1,
        };
        self.signal.store(signal as usize, Ordering::Relaxed);
    }

    /// The first request, if there was one.
    pub fn requested(&self) -> Option<StopReason> {
        match self.signal.load(Ordering::Relaxed) as i32 {
            0 => None,
            SIGINT => Some(StopReason::Interrupt),
            SIGUSR1 => Some(StopReason::Warning),
            _ => Some(StopReason::Terminate),
        }
    }
}
