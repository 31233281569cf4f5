//! What of a batch is written.

use crate::record::Record;
use crate::settings::Settings;
use sochdb_guest::{Batch, ComponentHealth, HealthState};
use std::collections::BTreeMap;

/// Everything of `batch` that `settings` ask for, in the order of its time.
pub fn entries<'a>(batch: &'a Batch, settings: &Settings, seen: &Seen) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    if settings.logs {
        let loud = batch.logs.iter().filter(|line| settings.level <= line.level);
        entries.extend(loud.map(|line| Entry { unix_us: line.unix_us, what: What::Log(line) }));
    }
    if settings.spans {
        let spans = batch.spans.iter();
        entries.extend(
            spans.map(|span| Entry { unix_us: span.unix_ns / 1000, what: What::Span(span) }),
        );
    }
    // Those keep their order among what has one time.
    entries.sort_by_key(|entry| entry.unix_us);
    let now = |what| Entry { unix_us: batch.unix_us, what };
    if settings.health {
        let changes = seen.changes(&batch.health);
        entries.extend(changes.map(|(health, was)| now(What::Health(health, was))));
    }
    if settings.metrics {
        entries.extend(batch.metrics.iter().map(|metric| now(What::Metric(metric))));
    }
    entries
}

/// One line to be.
pub struct Entry<'a> {
    unix_us: u64,
    what: What<'a>,
}

enum What<'a> {
    Log(&'a sochdb_guest::LogLine),
    Span(&'a sochdb_guest::Span),
    Health(&'a ComponentHealth, Option<HealthState>),
    Metric(&'a sochdb_guest::Metric),
}

impl<'a> Entry<'a> {
    /// What it says.
    pub fn record(&self) -> Record<'a> {
        match self.what {
            What::Log(line) => Record::log(line),
            What::Span(span) => Record::span(span),
            What::Health(health, was) => Record::health(self.unix_us, health, was),
            What::Metric(metric) => Record::metric(self.unix_us, metric),
        }
    }
}

/// The health that was written last, or need not be.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<(String, String), (HealthState, String)>);

impl Seen {
    /// The parts whose state or reason is another than it was, and how they were. A part that is seen for the
    /// first time is taken to have been healthy, so that a quiet start says nothing.
    fn changes<'a>(
        &self,
        health: &'a [ComponentHealth],
    ) -> impl Iterator<Item = (&'a ComponentHealth, Option<HealthState>)> {
        health.iter().filter_map(|now| {
            let was = self.0.get(&key(now));
            let is_same = match was {
                Some((state, why)) => *state == now.state && *why == now.why,
                None => now.state == HealthState::Healthy,
            };
            (!is_same).then(|| (now, was.map(|(state, _)| *state)))
        })
    }

    /// What `health` says is written. Parts that are gone are forgotten; a batch without any, such as the one
    /// that a fresh instance gets, says nothing about them.
    pub fn remember(&mut self, health: &[ComponentHealth]) {
        if !health.is_empty() {
            self.0 = health.iter().map(|now| (key(now), (now.state, now.why.clone()))).collect();
        }
    }
}

fn key(health: &ComponentHealth) -> (String, String) {
    (health.component.clone(), health.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Logfmt};
    use sochdb_guest::telemetry::Level;
    use sochdb_guest::{LogLine, test_batch};

    /// The lines of a batch, without what comes before their kind.
    fn kinds(batch: &Batch, settings: &Settings) -> Vec<String> {
        let entries = entries(batch, settings, &Seen::default());
        let lines = entries.iter().map(|entry| Logfmt::line(&entry.record(), 4096));
        lines.map(|line| line.split_once("kind=").unwrap().1.trim_end().to_owned()).collect()
    }

    fn log(unix_us: u64, level: Level) -> LogLine {
        let (target, message) = ("t".to_owned(), unix_us.to_string());
        LogLine { unix_us, level, target, message, fields: Vec::new(), span: None }
    }

    #[test]
    fn each_kind_is_written_where_it_is_wanted() {
        let mut batch = test_batch();
        batch.health[0].state = HealthState::Failed;
        let count = |change: fn(&mut Settings)| {
            let mut settings = Settings { metrics: true, ..Settings::default() };
            change(&mut settings);
            kinds(&batch, &settings).len()
        };
        assert_eq!(count(|_| {}), 6);
        assert_eq!(count(|settings| settings.logs = false), 5);
        assert_eq!(count(|settings| settings.spans = false), 5);
        assert_eq!(count(|settings| settings.health = false), 5);
        assert_eq!(count(|settings| settings.metrics = false), 3);
    }

    #[test]
    fn log_lines_below_the_level_are_left_out() {
        let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
        let batch = Batch {
            logs: levels.map(|level| log(level as u64, level)).to_vec(),
            ..Batch::default()
        };
        for level in levels {
            let settings = Settings { level, ..Settings::default() };
            assert_eq!(kinds(&batch, &settings).len(), 5 - level as usize);
        }
    }

    #[test]
    fn lines_stand_in_the_order_of_their_time() {
        let mut batch = test_batch();
        batch.spans[0].unix_ns = 2_000_000;
        batch.spans[0].error = None;
        batch.logs = vec![log(1000, Level::Info), log(2000, Level::Warn), log(3000, Level::Info)];
        let kinds = kinds(&batch, &Settings::default());
        let starts: Vec<&str> = kinds.iter().map(|line| &line[..8]).collect();
        assert_eq!(starts, ["log targ", "log targ", "span nam", "log targ"]);
    }

    #[test]
    fn health_is_written_when_it_changes() {
        let health = |name: &str, state, why: &str| ComponentHealth {
            component: "plugin".to_owned(),
            name: name.to_owned(),
            state,
            why: why.to_owned(),
        };
        use HealthState::{Degraded, Failed, Healthy};
        let mut seen = Seen::default();
        let mut changes = |now: &[ComponentHealth]| {
            let found = seen.changes(now).map(|(now, was)| (now.name.clone(), was)).collect();
            seen.remember(now);
            let found: Vec<(String, Option<HealthState>)> = found;
            found
        };
        let (well, ill) = (health("a", Healthy, ""), health("b", Degraded, "slow"));
        assert_eq!(changes(&[well.clone(), ill.clone()]), [("b".to_owned(), None)]);
        assert_eq!(changes(&[well.clone(), ill.clone()]), []);
        assert_eq!(changes(&[]), [], "a batch without health says nothing");
        let worse = health("b", Degraded, "very slow");
        assert_eq!(changes(&[well.clone(), worse]), [("b".to_owned(), Some(Degraded))]);
        let failed = health("a", Failed, "gone");
        assert_eq!(changes(&[failed]), [("a".to_owned(), Some(Healthy))]);
        assert_eq!(changes(&[well]), [("a".to_owned(), Some(Failed))]);
    }
}
