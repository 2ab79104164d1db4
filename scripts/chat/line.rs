//! The line that a person types, with editing and a history that the next chat has too.

use bitnet::{Error, Result};
use rustyline::error::ReadlineError;
use rustyline::{Behavior, Config, DefaultEditor};
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;

/// Reads lines from a terminal.
pub struct Lines {
    editor: DefaultEditor,
    /// None where there is no place for it.
    history: Option<PathBuf>,
}

impl Lines {
    /// # Errors
    /// A terminal that cannot be talked to.
    pub fn open() -> Result<Self> {
        let behavior = if stdout().is_terminal() { Behavior::Stdio } else { Behavior::PreferTerm };
        let config = Config::builder().behavior(behavior).auto_add_history(false).build();
        let mut editor = DefaultEditor::with_config(config)?;
        let history = history_path().filter(|path| path.parent().is_some_and(|dir| std::fs::create_dir_all(dir).is_ok()));
        if let Some(path) = history.as_deref().filter(|path| path.is_file())
            && let Err(error) = editor.load_history(path)
        {
            writeln!(stderr(), "{}: {error}", path.display())?;
        }
        Ok(Self { editor, history })
    }

    /// What was typed, of several lines where they end in a backslash; none when the user leaves: Ctrl-D, or Ctrl-C twice.
    ///
    /// # Errors
    /// A terminal that cannot be read.
    pub fn read(&mut self) -> Result<Option<String>> {
        let (mut is_again, mut text) = (false, String::new());
        loop {
            match self.editor.readline(if text.is_empty() { "> " } else { "| " }) {
                Ok(line) => {
                    text += &line;
                    if text.ends_with('\\') {
                        text.pop();
                        text.push('\n');
                        continue;
                    }
                    self.remember(&line);
                    return Ok(Some(text));
                }
                Err(ReadlineError::Interrupted) if !text.is_empty() => text.clear(),
                Err(ReadlineError::Interrupted) if !is_again => writeln!(stderr(), "(Ctrl-C again or Ctrl-D leaves)")?,
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => return Ok(None),
                Err(error) => return Err(Error::from(error).context("reading the prompt")),
            }
            is_again = true;
        }
    }

    /// A history that cannot be written is no reason to stop.
    fn remember(&mut self, line: &str) {
        let is_new = !line.trim().is_empty() && self.editor.add_history_entry(line).unwrap_or(false);
        if let Some(path) = self.history.as_deref().filter(|_| is_new) {
            let _ = self.editor.append_history(path);
        }
    }
}

/// `$XDG_STATE_HOME/bitnet/chat-history`.
fn history_path() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state_dir = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state_dir.join("bitnet/chat-history"))
}
