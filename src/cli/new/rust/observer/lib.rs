//! An observer that shows the newest value of each counter and gauge, one a line.

use sochdb_guest::{Batch, Error, MetricValue, Observer, Page, Result, test_batch};
use std::collections::BTreeMap;

/// The newest value of each metric, by its name and labels. One instance serves all calls.
#[derive(Default)]
struct MyPlugin {
    values: BTreeMap<String, f64>,
}

impl Observer for MyPlugin {
    fn init() -> Result<Self> {
        Ok(MyPlugin::default())
    }

    fn ingest(&mut self, batch: Batch) -> Result<()> {
        for metric in batch.metrics {
            let value = match metric.value {
                MetricValue::Counter(value) | MetricValue::Gauge(value) => value,
                MetricValue::Histogram(histogram) => histogram.sum,
            };
            let labels = metric
                .labels
                .iter()
                .map(|(name, value)| format!(" {name}={value:?}"));
            let name = metric.name + &labels.collect::<String>();
            self.values.insert(name, value);
        }
        Ok(())
    }

    fn render(&mut self, _accept: &str) -> Result<Page> {
        let lines = self
            .values
            .iter()
            .map(|(name, value)| format!("{name} {value}\n"));
        let body = lines.collect();
        Ok(Page {
            content_type: "text/plain; charset=utf-8".to_owned(),
            body,
        })
    }

    fn self_test(&mut self) -> Result<()> {
        let batch = test_batch();
        let count = batch.metrics.len();
        self.ingest(batch)?;
        match self.values.len() == count {
            true => Ok(()),
            false => Err(Error::internal("some metrics were not kept")),
        }
    }
}

sochdb_guest::export!(observer: MyPlugin);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_values_are_shown() -> Result<()> {
        let mut observer = MyPlugin::init()?;
        observer.ingest(test_batch())?;
        let mut later = test_batch();
        later.metrics[1].value = MetricValue::Gauge(7.0);
        observer.ingest(later)?;
        let page = observer.render("")?.body;
        assert_eq!(page.lines().count(), 3, "{page}");
        assert!(page.lines().any(|line| line.ends_with(" 7")), "{page}");
        Ok(())
    }
}
