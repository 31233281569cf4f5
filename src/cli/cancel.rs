//! Ctrl-C in the shell: it ends the line that runs, not the program.
//!
//! ```text
//!            begin                  Ctrl-C
//!   Idle ───────────▶ Running ─────────────────▶ Cancelled ── Ctrl-C ──▶ the program ends, with 130
//!    ▲ └─ Ctrl-C ─▶ the program ends │ end            │ end
//!    └───────────────────────────────┴────────────────┘        Paging: Ctrl-C is the pager's own business
//! ```
//!
//! What takes long asks [`check`] at each row or batch. A transaction that ends so is rolled back; batches that were
//! committed stay. The program may be ended at any time: that is a crash to the database, and it is made for those.
//! Outside the shell no signal is taken, and `check` never fails. What asks a program to end, SIGTERM and SIGHUP, ends
//! the shell in every state.

use super::failure::{Exit, Failure, Outcome};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use sochdb::KernelResult;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

/// The signals that ask a program to end; the first of them is Ctrl-C.
pub const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

const IDLE: u8 = 0;
const RUNNING: u8 = 1;
const CANCELLED: u8 = 2;
const PAGING: u8 = 3;

/// What the process does. One line at a time runs in it.
static NOW: Now = Now(AtomicU8::new(IDLE));

struct Now(AtomicU8);

impl Now {
    /// Whether the program is to end.
    fn pressed(&self) -> bool {
        let next = self.0.compare_exchange(RUNNING, CANCELLED, Ordering::SeqCst, Ordering::SeqCst);
        matches!(next, Err(IDLE | CANCELLED))
    }

    fn set(&self, state: u8) -> Running<'_> {
        self.0.store(state, Ordering::SeqCst);
        Running(self)
    }

    fn check(&self) -> Outcome {
        if self.0.load(Ordering::Relaxed) != CANCELLED {
            return Ok(());
        }
        Err(Failure::new(Exit::Cancelled, "cancelled")
            .help("what was not committed is rolled back; the database stays open"))
    }
}

/// While it is there, Ctrl-C does not end the program.
pub struct Running<'a>(&'a Now);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.store(IDLE, Ordering::SeqCst);
    }
}

/// Takes Ctrl-C from now on, and what else asks a program to end.
pub fn take_signals() -> Outcome {
    let mut signals = Signals::new(ENDING).map_err(|error| {
        Failure::new(Exit::Failed, format!("Ctrl-C cannot be made to cancel a command: {error}"))
    })?;
    thread::spawn(move || signals.forever().for_each(taken));
    Ok(())
}

fn taken(signal: i32) {
    if signal == SIGINT && !NOW.pressed() {
        return;
    }
    // A terminal that is read key by key would stay so.
    let _ = ratatui::crossterm::terminal::disable_raw_mode();
    if signal == SIGINT {
        std::process::exit(Exit::Cancelled as i32);
    }
    // Whoever sent it is told that it was what ended us.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

/// A line runs from now on, until what this returns goes.
pub fn begin() -> Running<'static> {
    NOW.set(RUNNING)
}

/// A pager shows what a line printed, until what this returns goes.
pub fn paging() -> Running<'static> {
    NOW.set(PAGING)
}

/// Fails when somebody pressed Ctrl-C since the line began.
pub fn check() -> Outcome {
    NOW.check()
}

/// What a long operation came to. Of one that was ended by Ctrl-C, that it was.
pub fn or<T>(done: KernelResult<T>) -> Outcome<T> {
    done.map_err(|error| check().err().unwrap_or_else(|| error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cancelled_once_and_the_next_one_runs() {
        let now = Now(AtomicU8::new(IDLE));
        assert!(now.pressed(), "nothing runs that could be cancelled");
        let running = now.set(RUNNING);
        assert!(now.check().is_ok());
        assert!(!now.pressed());
        let cancelled = now.check().unwrap_err();
        assert_eq!((cancelled.exit, cancelled.message.as_str()), (Exit::Cancelled, "cancelled"));
        assert!(now.pressed(), "pressed again, it ends the program");
        drop(running);
        let running = now.set(RUNNING);
        assert!(now.check().is_ok());
        drop(running);
        let paging = now.set(PAGING);
        assert!(!now.pressed() && now.check().is_ok());
        drop(paging);
    }
}
