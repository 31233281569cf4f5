//! What time it is, for plugins whose manifest has `clock = true`; without that the clock stands still.

/// Microseconds since 1970, as [`Value::Timestamp`](crate::row::Value::Timestamp) has them. The host tells them in
/// steps of a millisecond. In tests it is the time that the test says, if it does.
///
/// ```
/// # let mut db = sochdb_guest::testing::Database::new();
/// # db.set_clock(1_700_000_000_000_000);
/// # db.inside(|| {
/// let a_day_ago = sochdb_guest::clock::now_us() - 24 * 60 * 60 * 1_000_000;
/// # assert_eq!(a_day_ago, 1_699_913_600_000_000);
/// # });
/// ```
pub fn now_us() -> i64 {
    #[cfg(all(feature = "testing", not(target_family = "wasm")))]
    if let Some(us) = crate::testing::running().and_then(|running| running.clock_us()) {
        return us;
    }
    let us = |time: std::time::Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    match std::time::SystemTime::UNIX_EPOCH.elapsed() {
        Ok(since) => us(since),
        Err(before) => -us(before.duration()),
    }
}
