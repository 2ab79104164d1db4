//! What went wrong, what to do about it, and the exit status it maps to; how counts read in it. Every fallible function of the library returns [`Result`].

use std::cell::Cell;
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// Whose doing an error is; it decides the exit status of a binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The program or the machine: a full disk, a failed write, a defect. Exit status 1.
    Ours,
    /// The user's input: a config, a flag, a file that is not what it should be. Exit status 2.
    Input,
}

/// An error with the chain of what led to it and, where there is one, a hint that names the cure.
pub struct Error {
    fault: Fault,
    hint: Option<String>,
    cause: anyhow::Error,
}

/// The result of every fallible function of this library.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that the user's input caused. `message` names file, key or offset, and the value.
    pub fn input(message: impl fmt::Display) -> Self {
        Self::new(Fault::Input, message)
    }

    /// An error of the program or of the machine.
    pub fn ours(message: impl fmt::Display) -> Self {
        Self::new(Fault::Ours, message)
    }

    fn new(fault: Fault, message: impl fmt::Display) -> Self {
        Self { fault, hint: None, cause: anyhow::Error::msg(message.to_string()) }
    }

    /// Adds what the user can do about it; printed on a `hint:` line.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Puts what was being done in front of the message.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.cause = self.cause.context(doing.to_string());
        self
    }

    /// Declares the error the user's doing, for a failure that only the caller can judge.
    #[must_use]
    pub fn blame_input(mut self) -> Self {
        self.fault = Fault::Input;
        self
    }

    /// 1 when it is our fault, 2 when it is the user's input.
    pub fn exit_status(&self) -> u8 {
        match self.fault {
            Fault::Ours => 1,
            Fault::Input => 2,
        }
    }

    /// Whose doing it is.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The whole chain on one line, without the hint.
    pub fn message(&self) -> String {
        format!("{:#}", self.cause)
    }

    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The operating system's error at the bottom of the chain, if there is one.
    pub fn io_kind(&self) -> Option<std::io::ErrorKind> {
        self.cause.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind)
    }
}

/// "1 document", "12 documents": how a count reads.
pub fn counted(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// The whole chain on one line, then the hint. Control characters, which files and clients can bring along, are escaped: no message
/// moves a terminal's cursor.
impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(formatter, &format!("{:#}", self.cause))?;
        match &self.hint {
            Some(hint) => write_escaped(formatter, &format!("\nhint: {hint}")),
            None => Ok(()),
        }
    }
}

fn write_escaped(formatter: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|character| match character.is_control() && !"\n\t".contains(character) {
        true => write!(formatter, "{}", character.escape_default()),
        false => formatter.write_char(character),
    })
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

/// A failure of the operating system or of a library: ours, until the caller says otherwise.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self { fault: Fault::Ours, hint: None, cause: anyhow::Error::new(error) }
    }
}

/// Puts what was being done in front of any error, as it becomes ours.
pub trait Context<T> {
    /// `doing` reads as "reading runs/a/config.yaml".
    fn context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.into().context(doing()))
    }
}

thread_local!(static IS_CAUGHT: Cell<bool> = const { Cell::new(false) });

/// Runs `body`; a panic in it, which is how some libraries fail, becomes its payload and prints nothing by itself. What `body` changes
/// through references may be left half done.
///
/// # Errors
/// What was raised.
pub fn catch_panic<T>(body: impl FnOnce() -> T) -> std::thread::Result<T> {
    keep_quiet_where_caught();
    let outer = IS_CAUGHT.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(body));
    IS_CAUGHT.set(outer);
    outcome
}

/// Panics inside [`catch_panic`] are reported where the payload goes.
fn keep_quiet_where_caught() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |info| {
            if !IS_CAUGHT.get() {
                report(info);
            }
        }));
    });
}

/// A text for a message, cut when long.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Locks a mutex that guards what stays whole when a holder panics.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_or_client_brings_along_moves_no_cursor() {
        let error = Error::input("the role \"\u{1b}[2J\r\u{7}é\"").context("a\tb").hint("one of\ntwo\u{9b}");
        assert_eq!(error.to_string(), "a\tb: the role \"\\u{1b}[2J\\r\\u{7}é\"\nhint: one of\ntwo\\u{9b}");
    }
}
