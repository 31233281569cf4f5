//! Log lines and metrics in one line each.

/// Writes a line to the database's log, at the level `trace`; the arguments are those of [`format!`].
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => { $crate::telemetry::log($crate::Level::Trace, &::std::format!($($message)+)) };
}

/// Writes a line to the database's log, at the level `debug`; the arguments are those of [`format!`].
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::telemetry::log($crate::Level::Debug, &::std::format!($($message)+)) };
}

/// Writes a line to the database's log, at the level `info`; the arguments are those of [`format!`].
///
/// ```
/// # let rows = 3;
/// sochdb_guest::info!("took {rows} rows");
/// ```
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::telemetry::log($crate::Level::Info, &::std::format!($($message)+)) };
}

/// Writes a line to the database's log, at the level `warn`; the arguments are those of [`format!`].
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::telemetry::log($crate::Level::Warn, &::std::format!($($message)+)) };
}

/// Writes a line to the database's log, at the level `error`; the arguments are those of [`format!`].
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::telemetry::log($crate::Level::Error, &::std::format!($($message)+)) };
}

/// Adds to a counter: its name, how much, and labels with what they are. What the host does not take is dropped;
/// [`telemetry::count`](crate::telemetry::count) tells.
///
/// ```
/// # let table = "people";
/// sochdb_guest::count!("audit_rows_total", 1);
/// sochdb_guest::count!("audit_rows_total", 2, table = table, kind = "insert");
/// ```
#[macro_export]
macro_rules! count {
    ($name:expr, $step:expr $(, $label:ident = $value:expr)* $(,)?) => {
        $crate::__emit!(count, $name, $step $(, $label = $value)*)
    };
}

/// Sets a gauge: its name, its value, and labels with what they are. What the host does not take is dropped;
/// [`telemetry::gauge`](crate::telemetry::gauge) tells.
///
/// ```
/// sochdb_guest::gauge!("audit_backlog_rows", 17);
/// sochdb_guest::gauge!("audit_fill_ratio", 0.75, shard = 3);
/// ```
#[macro_export]
macro_rules! gauge {
    ($name:expr, $value:expr $(, $label:ident = $of:expr)* $(,)?) => {
        $crate::__emit!(gauge, $name, $value $(, $label = $of)*)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __emit {
    ($emit:ident, $name:expr, $value:expr $(, $label:ident = $of:expr)*) => {{
        #[allow(clippy::cast_lossless, clippy::unnecessary_cast, reason = "any number is taken")]
        let _: $crate::Result<()> = $crate::telemetry::$emit(
            $name,
            &[$((::std::stringify!($label), &*::std::string::ToString::to_string(&$of))),*],
            $value as f64,
        );
    }};
}
