//! Pins: who still needs something old, so that it is not reused under them.
//!
//! A version pins the checkpoint whose pages it can reach; a change feed or a backup pins the log from a
//! position on. Dropping the [`Pin`] lets go.

use std::sync::{Arc, Weak};

/// Something old that is still needed: a checkpoint's sequence, or an LSN.
#[derive(Debug)]
pub struct Pin {
    at: u64,
}

/// The pins given out, so that the oldest that still lives can be found.
#[derive(Debug, Default, Clone)]
pub struct Pins(Vec<Weak<Pin>>);

impl Pins {
    /// Keeps what is at `at`, and everything newer, until the pin is dropped.
    pub fn pin(&mut self, at: u64) -> Arc<Pin> {
        self.oldest();
        let pin = Arc::new(Pin { at });
        self.0.push(Arc::downgrade(&pin));
        pin
    }

    /// The oldest place still pinned.
    pub fn oldest(&mut self) -> Option<u64> {
        self.0.retain(|pin| 0 < pin.strong_count());
        self.0.iter().filter_map(Weak::upgrade).map(|pin| pin.at).min()
    }
}
