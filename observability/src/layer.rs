//! Events of `tracing` as log lines.
//!
//! | of an event                         | becomes                                                                    |
//! |-------------------------------------|----------------------------------------------------------------------------|
//! | `message`                           | the line's message                                                         |
//! | every other field                   | a field: text as it is, errors as they say themselves, the rest as `Debug` |
//! | its target and level                | the line's                                                                 |
//! | the [`Tracer`]'s span of the thread | the line's span, if it is recorded                                         |
//!
//! Bounds are those of [`LogQueue::push`]; a value is not even formatted beyond them. A value that says something to
//! `tracing` while it is formatted is not heard here, so that nothing goes round in circles.

use crate::clip::{self, TEXT_BYTES_MAX};
use crate::logs::{FIELDS_MAX, LINE_BYTES_MAX, LogQueue};
use crate::spans::Tracer;
use sochdb_telemetry::{LogLevel, LogLine};
use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// What our crates call themselves.
const OURS: &str = "sochdb";
/// What plugins say comes into batches by another way, with the plugin's own fields.
const SAID_BY_PLUGINS: &str = "sochdb::plugin::said";

thread_local! {
    /// Whether this thread is making a line.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Makes log lines of the events of `tracing`: those of SochDB's own parts, from `info` on, unless told otherwise.
///
/// It says to `tracing` that it wants nothing quieter, so that quieter events cost next to nothing. A layer beside it
/// that wants them must say so, as those with a filter of their own do; `tracing` takes the most that is said.
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let telemetry = sochdb_observability::Telemetry::default();
/// let subscriber = tracing_subscriber::registry().with(telemetry.layer());
/// tracing::subscriber::with_default(subscriber, || {
///     tracing::warn!(target: "sochdb::plugin", plugin = "zstd", "backs off");
/// });
/// let lines = telemetry.batch().logs;
/// assert_eq!(lines[0].message, "backs off");
/// assert_eq!(lines[0].fields, [("plugin".to_owned(), "zstd".to_owned())]);
/// ```
pub struct TelemetryLayer {
    logs: Arc<LogQueue>,
    quietest: LogLevel,
    all_targets: bool,
}

impl TelemetryLayer {
    pub(crate) fn new(logs: Arc<LogQueue>) -> TelemetryLayer {
        TelemetryLayer { logs, quietest: LogLevel::Info, all_targets: false }
    }

    /// Takes what is at least as loud as `level`.
    pub fn from_level(self, level: LogLevel) -> TelemetryLayer {
        TelemetryLayer { quietest: level, ..self }
    }

    /// Takes what the rest of the process says, too.
    pub fn targets_all(self) -> TelemetryLayer {
        TelemetryLayer { all_targets: true, ..self }
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        self.quietest <= level_of(metadata.level())
            && target != SAID_BY_PLUGINS
            && (self.all_targets || is_ours(target))
    }
}

impl<S: Subscriber> Layer<S> for TelemetryLayer {
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.quietest {
            LogLevel::Trace => LevelFilter::TRACE,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Error => LevelFilter::ERROR,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if !self.wants(metadata) {
            return;
        }
        let Some(_busy) = Busy::begin() else { return };
        let mut said = Said::default();
        event.record(&mut said);
        self.logs.push(LogLine {
            unix_us: crate::unix_us(),
            level: level_of(metadata.level()),
            target: clip::text(format_args!("{}", metadata.target()), TEXT_BYTES_MAX),
            message: said.message,
            fields: said.fields,
            span: Tracer::current(),
        });
    }
}

/// `sochdb` itself, and what is in it or beside it: `sochdb::plugin`, `sochdb_kernel::wal`.
fn is_ours(target: &str) -> bool {
    let rest = target.strip_prefix(OURS);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', ':', '.', '-']))
}

fn level_of(level: &Level) -> LogLevel {
    match *level {
        Level::TRACE => LogLevel::Trace,
        Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warn,
        Level::ERROR => LogLevel::Error,
    }
}

/// While it lives, this thread makes a line.
struct Busy;

impl Busy {
    fn begin() -> Option<Busy> {
        (!BUSY.replace(true)).then(|| Busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        BUSY.set(false);
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(String, String)>,
    bytes: usize,
}

impl Said {
    fn take(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let name = field.name();
        let is_message = name == "message";
        // What finds no room is kept as an empty field all the same: the queue counts it when it leaves it out.
        let full = FIELDS_MAX <= self.fields.len() || LINE_BYTES_MAX <= self.bytes;
        let bytes_max = if full && !is_message { 0 } else { TEXT_BYTES_MAX };
        let value = clip::text(value, bytes_max);
        self.bytes += name.len() + value.len();
        match is_message {
            true => self.message = value,
            false => self.fields.push((name.strip_prefix("r#").unwrap_or(name).to_owned(), value)),
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.take(field, format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Telemetry, TelemetryOptions, TracerOptions};
    use std::sync::Mutex;
    use std::time::Duration;
    use tracing_subscriber::filter::Filtered;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Registry, registry};

    fn lines_of(telemetry: &Telemetry, layer: TelemetryLayer, work: impl FnOnce()) -> Vec<LogLine> {
        tracing::subscriber::with_default(registry().with(layer), work);
        telemetry.batch().logs
    }

    fn lines(work: impl FnOnce()) -> Vec<LogLine> {
        let telemetry = Telemetry::default();
        lines_of(&telemetry, telemetry.layer(), work)
    }

    fn messages(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.message.as_str()).collect()
    }

    #[test]
    fn an_event_becomes_a_line() {
        let began = crate::unix_us();
        let lines = lines(|| {
            let error = std::io::Error::other("the disk is full");
            let failed: &(dyn Error + 'static) = &error;
            let list = [1, 2];
            let (some, r#type) = (Some("x"), "lz4");
            tracing::warn!(
                target: "sochdb_kernel::wal",
                codec = "zstd", %error, failed, count = 3_u64, less = -4_i64, share = 0.5, huge = 1e300, yes = true,
                wide = u128::MAX, ?list, ?some, r#type, absent = tracing::field::Empty, "codec {}", "refused"
            );
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!((line.level, line.target.as_str()), (LogLevel::Warn, "sochdb_kernel::wal"));
        assert_eq!((line.message.as_str(), line.span), ("codec refused", None));
        assert!((began..=crate::unix_us()).contains(&line.unix_us));
        let fields: Vec<_> =
            line.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let wide = format!("wide={}", u128::MAX);
        assert_eq!(
            fields,
            [
                "codec=zstd",
                "error=the disk is full",
                "failed=the disk is full",
                "count=3",
                "less=-4",
                "share=0.5",
                "huge=1e300",
                "yes=true",
                &wide,
                "list=[1, 2]",
                "some=Some(\"x\")",
                "type=lz4",
            ]
        );
    }

    #[test]
    fn only_what_is_ours_and_loud_enough_is_taken() {
        let speak = || {
            tracing::debug!(target: "sochdb", "quiet");
            tracing::info!(target: "sochdb", "ours");
            tracing::error!(target: "sochdb_kernel", "kernel");
            tracing::error!(target: "sochdbish", "near");
            tracing::error!(target: "sochdb::plugin::said", "a plugin's own");
            tracing::error!(target: "hyper", "other");
        };
        assert_eq!(messages(&lines(speak)), ["ours", "kernel"]);
        let telemetry = Telemetry::default();
        let of = |layer| messages(&lines_of(&telemetry, layer, speak)).join(" ");
        assert_eq!(of(telemetry.layer().targets_all()), "ours kernel near other");
        assert_eq!(of(telemetry.layer().from_level(LogLevel::Error)), "kernel");
        assert_eq!(of(telemetry.layer().from_level(LogLevel::Trace)), "quiet ours kernel");
    }

    #[test]
    fn tracing_is_told_what_is_not_wanted() {
        let telemetry = Telemetry::default();
        let enabled =
            || (tracing::enabled!(target: "sochdb", Level::INFO), tracing::enabled!(Level::DEBUG));
        tracing::subscriber::with_default(registry().with(telemetry.layer()), || {
            assert_eq!(enabled(), (true, false));
        });
        let layer = telemetry.layer().from_level(LogLevel::Debug);
        tracing::subscriber::with_default(registry().with(layer), || {
            assert_eq!(enabled(), (true, true))
        });
    }

    struct Heard(Arc<Mutex<Vec<String>>>);

    impl Layer<Registry> for Heard {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, Registry>) {
            self.0.lock().unwrap().push(event.metadata().target().to_owned());
        }
    }

    #[test]
    fn a_layer_beside_it_that_has_a_filter_hears_what_it_wants() {
        let (telemetry, heard) = (Telemetry::default(), Arc::new(Mutex::new(Vec::new())));
        let other: Filtered<_, _, Registry> = Heard(heard.clone()).with_filter(LevelFilter::DEBUG);
        tracing::subscriber::with_default(registry().with(other).with(telemetry.layer()), || {
            tracing::debug!(target: "sochdb::quiet", "quiet");
            tracing::info!(target: "elsewhere", "loud");
        });
        assert_eq!(*heard.lock().unwrap(), ["sochdb::quiet", "elsewhere"]);
        assert!(telemetry.batch().logs.is_empty());
    }

    #[test]
    fn a_line_knows_the_span_it_was_said_in() {
        let spans = TracerOptions { one_in: 1, slow: Duration::MAX, waiting_max: 10 };
        let telemetry = Telemetry::new(TelemetryOptions { spans, ..TelemetryOptions::default() });
        let mut context = None;
        let lines = lines_of(&telemetry, telemetry.layer(), || {
            let span = telemetry.tracer().begin("commit");
            context = span.context();
            tracing::info!(target: "sochdb", "inside");
            drop(span);
            tracing::info!(target: "sochdb", "outside");
        });
        assert!(context.is_some());
        assert_eq!(lines.iter().map(|line| line.span).collect::<Vec<_>>(), [context, None]);
    }

    #[test]
    fn huge_values_are_cut() {
        let huge = "ä".repeat(1 << 20);
        let list = vec![0_u8; 1 << 20];
        let lines = lines(|| {
            tracing::info!(target: "sochdb", a = huge, b = ?list, c = %huge, d = huge, e = huge, "{huge}");
        });
        let line = &lines[0];
        assert!(line.message.ends_with("ä…") && line.message.len() <= TEXT_BYTES_MAX);
        assert_eq!(line.fields[0].0, "a");
        assert!(line.fields.iter().all(|(_, value)| value.len() <= TEXT_BYTES_MAX));
        let last = line.fields.last().unwrap();
        assert_eq!(
            (last.0.as_str(), line.fields.len() - 1 + last.1.parse::<usize>().unwrap()),
            ("fields_left_out", 5)
        );
    }

    #[test]
    fn what_a_value_says_while_it_is_formatted_goes_nowhere() {
        struct Talks;
        impl fmt::Debug for Talks {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                tracing::info!(target: "sochdb", value = ?Talks, "again");
                f.write_str("talks")
            }
        }
        // A subscriber of one thread is guarded by `tracing` itself, one of the whole process is not.
        let telemetry = Telemetry::default();
        let lines = lines_of(&telemetry, telemetry.layer(), || {
            tracing::info!(target: "sochdb", value = ?Talks, "once");
            let busy = Busy::begin();
            assert!(busy.is_some() && Busy::begin().is_none());
            tracing::info!(target: "sochdb", "unheard");
            drop(busy);
            tracing::info!(target: "sochdb", "heard");
        });
        assert_eq!(messages(&lines), ["once", "heard"]);
        assert_eq!(lines[0].fields[0].1, "talks");
    }

    #[test]
    fn a_value_that_panics_leaves_the_layer_working() {
        struct Panics;
        impl fmt::Debug for Panics {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                std::panic::resume_unwind(Box::new(()))
            }
        }
        let lines = lines(|| {
            let work = || tracing::info!(target: "sochdb", value = ?Panics, "lost");
            assert!(std::panic::catch_unwind(work).is_err());
            tracing::info!(target: "sochdb", "kept");
        });
        assert_eq!(messages(&lines), ["kept"]);
    }
}
