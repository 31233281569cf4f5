//! What a guest's files and streams cost the host, bounded.
//!
//! The functions of WASI do not get at the store, where the fuel is. They have an allowance of their own
//! instead, as large as the fuel of a call: what they do is added up here, and a call that does more ends as
//! if its fuel were used up. Each of them looks at the call's deadline too, because no epoch ends a guest
//! that spends its time in the host.

use crate::limits::fuel;
use std::collections::HashSet;
use std::time::Instant;
use wasmtime::Trap;

/// An operation on a path: some system calls, each a microsecond or two.
pub(super) const PATH: u64 = 5_000;
/// Making a file durable: a millisecond on a good disk.
pub(super) const SYNC: u64 = 1_000_000;
/// Files, directories, listings and streams of files that one instance has open. The process has so many
/// for all that it does.
const OPEN_MAX: usize = 64;

/// What the present call has cost, and what the guest has open.
pub(super) struct Work {
    fuel: u64,
    fuel_max: u64,
    deadline: Instant,
    /// Resources that hold something of the operating system's.
    open: HashSet<u32>,
    /// Pollables of streams. Those of clocks are not here: they become ready when it is too late.
    ready: HashSet<u32>,
}

impl Work {
    pub(super) fn new() -> Work {
        let (open, ready) = Default::default();
        Work { fuel: 0, fuel_max: 0, deadline: Instant::now(), open, ready }
    }

    pub(super) fn begin_call(&mut self, deadline: Instant, fuel_max: u64) {
        self.fuel = 0;
        self.fuel_max = fuel_max;
        self.deadline = deadline;
    }

    /// What the present call has cost, in fuel.
    pub(super) fn fuel(&self) -> u64 {
        self.fuel
    }

    /// Pays for an operation that carries `bytes` and costs `more`.
    ///
    /// # Errors
    /// A trap when the call has no allowance or no time left.
    pub(super) fn charge(&mut self, bytes: u64, more: u64) -> Result<(), Trap> {
        let cost = fuel::CALL.saturating_add(fuel::BYTE.saturating_mul(bytes)).saturating_add(more);
        self.fuel = self.fuel.saturating_add(cost);
        if self.fuel_max < self.fuel {
            self.fuel = self.fuel_max;
            return Err(Trap::OutOfFuel);
        }
        if self.deadline <= Instant::now() {
            return Err(Trap::Interrupt);
        }
        Ok(())
    }

    /// Whether one more may be opened.
    pub(super) fn may_open(&self) -> bool {
        self.open.len() < OPEN_MAX
    }

    pub(super) fn opened(&mut self, resource: u32) {
        self.open.insert(resource);
    }

    pub(super) fn closed(&mut self, resource: u32) {
        self.open.remove(&resource);
    }

    pub(super) fn is_always_ready(&self, pollable: u32) -> bool {
        self.ready.contains(&pollable)
    }

    pub(super) fn made_ready(&mut self, pollable: u32) {
        self.ready.insert(pollable);
    }

    pub(super) fn dropped_pollable(&mut self, pollable: u32) {
        self.ready.remove(&pollable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_allowance_and_a_deadline_end_a_call() {
        let mut work = Work::new();
        work.begin_call(Instant::now() + Duration::from_secs(60), 10_000);
        work.charge(100, 0).unwrap();
        assert_eq!(work.fuel(), fuel::CALL + 100 * fuel::BYTE);
        work.charge(0, PATH).unwrap();
        assert_eq!(work.charge(u64::MAX, u64::MAX), Err(Trap::OutOfFuel));
        assert_eq!(work.fuel(), 10_000);
        work.begin_call(Instant::now(), 10_000);
        assert_eq!(work.charge(0, 0), Err(Trap::Interrupt));
    }

    #[test]
    fn so_many_are_open_and_no_more() {
        let mut work = Work::new();
        for resource in 0..OPEN_MAX as u32 {
            assert!(work.may_open());
            work.opened(resource);
        }
        assert!(!work.may_open());
        work.closed(9999);
        assert!(!work.may_open());
        work.closed(3);
        assert!(work.may_open());
    }
}
