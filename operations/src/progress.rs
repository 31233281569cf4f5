//! How far a long operation is, and that it shall end.

use sochdb_kernel::{KernelError, KernelResult};
use std::cell::Cell;

/// How far a long operation is. Handed to a callback now and then: at the beginning of each part, and at
/// least once per mebibyte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// Bytes dealt with so far.
    pub done_bytes: u64,
    /// Bytes to deal with in all, as far as it is known; may be passed by a little.
    pub total_bytes: u64,
    /// What is being done, for people: `table 'users'`.
    pub what: &'a str,
    stop: Option<&'a Cell<bool>>,
}

impl<'a> Progress<'a> {
    /// For operations outside this crate that tell how far they are.
    pub fn new(done_bytes: u64, total_bytes: u64, what: &'a str) -> Progress<'a> {
        Progress { done_bytes, total_bytes, what, stop: None }
    }

    /// Asks the operation to end here: a conversion, a check or a backup does, with an error and as if another had
    /// stopped it. What cannot end early goes on.
    pub fn stop(&self) {
        if let Some(stop) = self.stop {
            stop.set(true);
        }
    }
}

/// Who wants to know. An operation that must not be watched gets `&mut |_| {}`.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress<'_>);

/// How many bytes pass between two calls.
const STEP_BYTES: u64 = 1 << 20;

/// Counts bytes, and calls the callback when it is time.
pub(crate) struct Meter<'a> {
    done_bytes: u64,
    told_bytes: u64,
    total_bytes: u64,
    what: String,
    stop: Cell<bool>,
    callback: OnProgress<'a>,
}

impl<'a> Meter<'a> {
    pub fn new(total_bytes: u64, callback: OnProgress<'a>) -> Meter<'a> {
        let (what, stop) = (String::new(), Cell::new(false));
        Meter { done_bytes: 0, told_bytes: 0, total_bytes, what, stop, callback }
    }

    /// Fails once it was asked to stop.
    pub fn check(&self) -> KernelResult<()> {
        match self.stop.get() {
            true => Err(KernelError::invalid("stopped, as its watcher asked")),
            false => Ok(()),
        }
    }

    /// Another part begins.
    pub fn begin(&mut self, what: impl Into<String>) {
        self.what = what.into();
        self.tell();
    }

    /// The name of the present part.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// There are `bytes` more to do than was known.
    pub fn grow(&mut self, bytes: u64) {
        self.total_bytes += bytes;
    }

    /// `bytes` more are done.
    pub fn add(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        if STEP_BYTES <= self.done_bytes - self.told_bytes {
            self.tell();
        }
    }

    /// Everything is done.
    pub fn end(&mut self) {
        self.done_bytes = self.done_bytes.max(self.total_bytes);
        self.begin("done");
    }

    fn tell(&mut self) {
        self.told_bytes = self.done_bytes;
        let (done_bytes, total_bytes) = (self.done_bytes, self.total_bytes);
        let (what, stop) = (self.what.as_str(), Some(&self.stop));
        (self.callback)(Progress { done_bytes, total_bytes, what, stop });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_watches_may_ask_it_to_stop() {
        let mut callback = |progress: Progress<'_>| {
            if 2 * STEP_BYTES <= progress.done_bytes {
                progress.stop();
            }
        };
        let mut meter = Meter::new(9, &mut callback);
        meter.begin("work");
        meter.add(STEP_BYTES);
        assert!(meter.check().is_ok());
        meter.add(STEP_BYTES);
        assert!(meter.check().is_err());
    }
}
