//! The Prometheus observer as a plugin: glue between the contract and `exposition`.

mod exposition;

use exposition::Exposition;
use sochdb_guest::{Batch, Error, Observer, Result, config};

/// The plugin: the page it shows, made of the newest batch.
pub struct Prometheus {
    prefix: String,
    page: String,
}

impl Observer for Prometheus {
    fn init() -> Result<Self> {
        let prefix = config::text("prefix")?;
        if !prefix.is_empty() && !exposition::is_metric_name(&prefix) {
            let what =
                format!("the setting 'prefix' is {prefix:?}, which no metric name begins with");
            return Err(Error::invalid(what));
        }
        Ok(Prometheus { prefix, page: String::new() })
    }

    fn ingest(&mut self, batch: Batch) -> Result<()> {
        let exposition = Exposition::new(&self.prefix, &batch.metrics).map_err(Error::invalid)?;
        self.page = exposition.to_string();
        Ok(())
    }

    fn render(&mut self) -> Result<String> {
        Ok(self.page.clone())
    }
}

sochdb_guest::export!(observer: Prometheus);
