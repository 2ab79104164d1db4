//! A view that redraws itself. On a terminal it takes the whole screen until `q` or Ctrl-C and gives it back however it ends; elsewhere
//! it appends snapshots without escapes.

use crate::{Context, Result};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::{cursor, execute, queue, style, terminal};
use std::io::{IsTerminal, Stdout, Write, stdout};
use std::panic;
use std::sync::Once;
use std::time::{Duration, Instant};

/// Columns where standard output is no terminal.
const DEFAULT_WIDTH: usize = 100;

/// The width of standard output in characters.
pub fn stdout_width() -> usize {
    if !stdout().is_terminal() {
        return DEFAULT_WIDTH;
    }
    terminal::size().map_or(DEFAULT_WIDTH, |(columns, _)| usize::from(columns))
}

/// Shows what `draw` makes of the width, again every `interval`, until the user leaves. Where standard output is no terminal a snapshot
/// is written each time, until the reader closes it.
pub fn watch(interval: Duration, draw: impl FnMut(usize) -> Result<String>) -> Result<()> {
    if stdout().is_terminal() { watch_on_screen(interval, draw) } else { watch_as_stream(interval, draw) }
}

fn watch_as_stream(interval: Duration, mut draw: impl FnMut(usize) -> Result<String>) -> Result<()> {
    loop {
        let mut out = stdout().lock();
        writeln!(out, "{}", draw(DEFAULT_WIDTH)?)?;
        out.flush()?;
        drop(out);
        std::thread::sleep(interval);
    }
}

fn watch_on_screen(interval: Duration, mut draw: impl FnMut(usize) -> Result<String>) -> Result<()> {
    let first = draw(stdout_width())?; // an error here is printed on the ordinary screen
    let mut screen = Screen::enter()?;
    screen.show(&first, interval)?;
    loop {
        match wait(interval)? {
            Wake::Leave => return Ok(()),
            Wake::Redraw => screen.show(&draw(stdout_width())?, interval)?,
        }
    }
}

enum Wake {
    Redraw,
    Leave,
}

/// Until the time is up, the window changes its size, or a key says to leave.
fn wait(interval: Duration) -> Result<Wake> {
    let began = Instant::now();
    while let Some(rest) = interval.checked_sub(began.elapsed()).filter(|rest| !rest.is_zero()) {
        if !event::poll(rest).context(|| "waiting for a key".to_owned())? {
            break;
        }
        match event::read().context(|| "reading a key".to_owned())? {
            Event::Key(key) if leaves(key) => return Ok(Wake::Leave),
            Event::Resize(..) => return Ok(Wake::Redraw),
            _ => {}
        }
    }
    Ok(Wake::Redraw)
}

fn leaves(key: KeyEvent) -> bool {
    let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release && (is_interrupt || matches!(key.code, KeyCode::Char('q' | 'Q')))
}

/// The alternate screen in raw mode; the terminal is as before once this is dropped, or when a panic begins.
struct Screen {
    out: Stdout,
}

impl Screen {
    fn enter() -> Result<Self> {
        restore_before_panics();
        terminal::enable_raw_mode().context(|| "taking over the terminal".to_owned())?;
        let mut screen = Self { out: stdout() };
        execute!(screen.out, terminal::EnterAlternateScreen, terminal::DisableLineWrap, cursor::Hide)?;
        Ok(screen)
    }

    /// Draws line over line, as one update, so that nothing flickers. The last line says how to leave.
    fn show(&mut self, text: &str, interval: Duration) -> Result<()> {
        let rows = terminal::size().map_or(24, |(_, rows)| usize::from(rows));
        queue!(self.out, terminal::BeginSynchronizedUpdate, cursor::MoveTo(0, 0))?;
        for line in text.lines().take(rows.saturating_sub(1)) {
            // Cleared first: behind a line as wide as the screen there is nothing to clear but its last character.
            queue!(self.out, terminal::Clear(terminal::ClearType::CurrentLine), style::Print(line), cursor::MoveToNextLine(1))?;
        }
        queue!(self.out, terminal::Clear(terminal::ClearType::FromCursorDown))?;
        let last_row = u16::try_from(rows.saturating_sub(1)).unwrap_or(u16::MAX);
        let help = format!("every {} s; q leaves", interval.as_secs_f64());
        queue!(self.out, cursor::MoveTo(0, last_row), style::Print(help), terminal::EndSynchronizedUpdate)?;
        self.out.flush()?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Errors are let go: there is no terminal left to show them on.
fn restore() {
    let _ = execute!(stdout(), cursor::Show, terminal::EnableLineWrap, terminal::LeaveAlternateScreen);
    let _ = terminal::disable_raw_mode();
}

fn restore_before_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            report(info);
        }));
    });
}
