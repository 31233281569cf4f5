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
//! Outside the shell no signal is taken, and `check` never fails.

use super::failure::{Exit, Failure, Outcome};
use std::sync::atomic::{AtomicU8, Ordering};

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
    let pressed = || {
        if NOW.pressed() {
            // A terminal that is read key by key would stay so.
            let _ = ratatui::crossterm::terminal::disable_raw_mode();
            std::process::exit(Exit::Cancelled as i32);
        }
    };
    ctrlc::set_handler(pressed).map_err(|error| {
        Failure::new(Exit::Failed, format!("Ctrl-C cannot be made to cancel a command: {error}"))
    })
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
