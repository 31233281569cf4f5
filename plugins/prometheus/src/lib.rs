//! The Prometheus observer as a plugin: glue between the contract and the rooms below.
//!
//! ```text
//!   ingest   batch ──▶ families: which metrics can be shown, and as what
//!   render   accept ─▶ which format ──▶ exposition: the page
//! ```

#![forbid(unsafe_code)]

mod accept;
mod exposition;
mod families;

use accept::Format;
use families::Families;
use sochdb_guest::{Batch, Error, Observer, Page, Result, config, test_batch};

/// The plugin: the newest metrics, and what is put before their names.
pub struct Prometheus {
    prefix: String,
    families: Families,
}

impl Prometheus {
    fn new(prefix: String) -> Result<Self> {
        if !prefix.is_empty() && !families::is_metric_name(&prefix) {
            let what = "which no metric name begins with";
            return Err(Error::invalid(format!("the setting 'prefix' is {prefix:?}, {what}")));
        }
        Ok(Prometheus { prefix, families: Families::new(Vec::new()) })
    }

    fn page(&self, format: Format) -> Page {
        let body = exposition::page(&self.families, &self.prefix, format);
        Page { content_type: format.content_type().to_owned(), body }
    }
}

impl Observer for Prometheus {
    fn init() -> Result<Self> {
        Prometheus::new(config::text("prefix")?)
    }

    fn ingest(&mut self, batch: Batch) -> Result<()> {
        self.families = Families::new(batch.metrics);
        Ok(())
    }

    fn render(&mut self, accept: &str) -> Result<Page> {
        Ok(self.page(Format::accepted(accept)))
    }

    fn self_test(&mut self) -> Result<()> {
        self.ingest(test_batch())?;
        let bucket = format!("{}sochdb_self_test_seconds_bucket", self.prefix);
        let lines = self.page(Format::Text).body.matches(&bucket).count();
        let openmetrics = self.page(Format::OpenMetrics).body;
        if lines == 3
            && openmetrics.matches(&bucket).count() == 3
            && openmetrics.ends_with("# EOF\n")
        {
            return Ok(());
        }
        Err(Error::internal("the pages of the self-test's batch are not what they should be"))
    }
}

sochdb_guest::export!(observer: Prometheus);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_self_test_passes() {
        for prefix in ["", "shop_"] {
            let mut prometheus = Prometheus::new(prefix.to_owned()).unwrap();
            prometheus.self_test().expect("both pages are right");
        }
    }

    #[test]
    fn the_page_is_of_the_format_that_was_asked_for() {
        let mut prometheus = Prometheus::new(String::new()).unwrap();
        let empty = prometheus.render("").unwrap();
        assert_eq!(empty.content_type, "text/plain; version=0.0.4; charset=utf-8");
        prometheus.ingest(test_batch()).unwrap();
        let page = prometheus.render("application/openmetrics-text;version=1.0.0").unwrap();
        assert_eq!(page.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        assert!(page.body.ends_with("# EOF\n"), "{}", page.body);
        assert!(!prometheus.render("text/*").unwrap().body.contains("# EOF"));
    }

    #[test]
    fn a_prefix_that_no_name_begins_with_is_refused() {
        for prefix in ["1", "a b", "ä", "a-"] {
            assert!(Prometheus::new(prefix.to_owned()).is_err(), "{prefix}");
        }
    }
}
