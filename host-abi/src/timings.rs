//! How long timings take, by how they end, and searches: what transactions of one database count together.

use sochdb_kernel::KernelResult;
use sochdb_observability::{ActiveSpan, Durations, Source, Telemetry, Tracer};
use sochdb_telemetry::{Family, Metric, MetricKind};
use std::sync::Arc;

const COMMIT_SECONDS: Family = Family {
    name: "sochdb_commit_duration_seconds",
    kind: MetricKind::Histogram,
    help: "How long a commit took, from the call to its durability.",
    labels: &["outcome"],
};
const SEARCH_SECONDS: Family = Family {
    name: "sochdb_search_duration_seconds",
    kind: MetricKind::Histogram,
    help: "How long a search for the nearest vectors took, rows included.",
    labels: &[],
};

/// What is timed.
#[derive(Default)]
pub(crate) struct Timings {
    /// Absent until the database has telemetry.
    tracer: Option<Tracer>,
    committed: Durations,
    conflict: Durations,
    failed: Durations,
    searches: Durations,
}

impl Timings {
    pub(crate) fn new(telemetry: &Telemetry) -> Arc<Timings> {
        let tracer = Some(telemetry.tracer().clone());
        let committed = Durations::by_thread();
        let timings = Arc::new(Timings { tracer, committed, ..Timings::default() });
        telemetry.registry().add(&timings);
        timings
    }

    /// A commit begins. `None` without telemetry.
    pub(crate) fn begin(&self) -> Option<Committing<'_>> {
        let span = self.tracer.as_ref()?.begin("commit");
        Some(Committing { timings: self, span })
    }

    /// Times a commit.
    pub(crate) fn commit<T>(&self, commit: impl FnOnce() -> KernelResult<T>) -> KernelResult<T> {
        let timed = self.begin();
        let ended = commit();
        if let Some(timed) = timed {
            timed.end(&ended);
        }
        ended
    }
}

impl Timings {
    /// Times a search of `table`.
    pub(crate) fn search<T>(
        &self,
        table: &str,
        search: impl FnOnce() -> KernelResult<T>,
    ) -> KernelResult<T> {
        let Some(tracer) = &self.tracer else { return search() };
        let mut span = tracer.begin("search");
        let found = search();
        if span.is_kept() {
            span.about("db.operation.name", "search");
            span.about("db.collection.name", table);
        }
        if let Err(error) = &found {
            span.failed(error);
        }
        let context = span.context();
        self.searches.observe_in(span.end(), context);
        found
    }
}

/// A commit that goes on.
pub(crate) struct Committing<'a> {
    timings: &'a Timings,
    span: ActiveSpan<'a>,
}

impl Committing<'_> {
    /// It ended like this.
    pub(crate) fn end<T>(self, ended: &KernelResult<T>) {
        let timings = self.timings;
        match ended {
            Ok(_) => self.finish(&timings.committed, "committed"),
            Err(error) if error.is_retryable() => self.conflicted(),
            Err(error) => {
                let mut failed = self;
                failed.span.failed(error);
                failed.finish(&timings.failed, "failed");
            }
        }
    }

    /// Another transaction was first; the same one runs again.
    pub(crate) fn conflicted(self) {
        let timings = self.timings;
        self.finish(&timings.conflict, "conflict");
    }

    fn finish(mut self, durations: &Durations, outcome: &str) {
        let took = self.span.stop();
        if self.span.is_kept() {
            self.span.about("db.operation.name", "commit");
            self.span.about("sochdb.outcome", outcome);
        }
        durations.observe_in(took, self.span.context());
    }
}

impl Source for Timings {
    fn families(&self) -> Vec<Family> {
        vec![COMMIT_SECONDS, SEARCH_SECONDS]
    }

    fn collect(&self, into: &mut Vec<Metric>) {
        let outcomes = [
            ("committed", &self.committed),
            ("conflict", &self.conflict),
            ("failed", &self.failed),
        ];
        into.extend(outcomes.map(|(outcome, durations)| {
            COMMIT_SECONDS.metric(&[("outcome", outcome)], durations.value())
        }));
        into.push(SEARCH_SECONDS.metric(&[], self.searches.value()));
    }
}
