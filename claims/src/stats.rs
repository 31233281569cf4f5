//! What a queue or a set of leases counts.
//!
//! The gauges are counted from the rows of one snapshot. The counters are totals since the manager was
//! opened, shared by its clones, and grow only once the commit has returned. What happens in a caller's own
//! transaction (`enqueue_in`, `ack_in`) is not among them, because only the caller learns whether it
//! committed; it shows in the gauges.

use sochdb_telemetry::Counter;

/// The counters that calls add to.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub enqueued: Counter,
    pub granted: Counter,
    pub takeovers: Counter,
    pub renewed: Counter,
    pub released: Counter,
    pub acked: Counter,
    pub died: Counter,
    pub stale: Counter,
    pub conflicts: Counter,
}

sochdb_telemetry::stats! {
    /// The counts of one queue or one set of leases. Gauges are exact at one snapshot; counters are totals
    /// since the manager was opened and leave out what happened in a caller's own transaction.
    pub struct ClaimStats {
    gauge ready = "sochdb_claims_ready" "Jobs that nobody holds and that are due.",
    gauge delayed = "sochdb_claims_delayed" "Jobs that nobody holds and that are not due yet.",
    gauge claimed = "sochdb_claims_claimed" "Claims whose lease runs.",
    gauge expired = "sochdb_claims_expired" "Claims whose lease ran out and that nobody has taken over.",
    gauge dead = "sochdb_claims_dead" "Jobs put aside after too many attempts.",
    counter enqueued = "sochdb_claims_enqueued_total" "Jobs enqueued.",
    counter granted = "sochdb_claims_granted_total" "Claims granted, takeovers included.",
    counter takeovers = "sochdb_claims_takeovers_total" "Claims taken over from an owner whose lease ran out.",
    counter renewed = "sochdb_claims_renewed_total" "Leases renewed.",
    counter released = "sochdb_claims_released_total" "Claims given back.",
    counter acked = "sochdb_claims_acked_total" "Jobs acknowledged.",
    counter died = "sochdb_claims_died_total" "Jobs that were put aside as dead.",
    counter stale = "sochdb_claims_stale_total" "Calls refused because the claim was lost.",
    counter conflicts = "sochdb_claims_conflicts_total" "Transactions run again because another was first.",
    }
}

impl Counts {
    /// The counters, with gauges of zero.
    pub fn totals(&self) -> ClaimStats {
        ClaimStats {
            enqueued: self.enqueued.get(),
            granted: self.granted.get(),
            takeovers: self.takeovers.get(),
            renewed: self.renewed.get(),
            released: self.released.get(),
            acked: self.acked.get(),
            died: self.died.get(),
            stale: self.stale.get(),
            conflicts: self.conflicts.get(),
            ..ClaimStats::default()
        }
    }
}
