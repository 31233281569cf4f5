//! Logs, spans, health and metrics as JSON lines: glue between the contract and the crate `sochdb-logfile`.

use sochdb_guest::{Batch, Observer, Result};
use sochdb_logfile::{Json, LogFiles};

/// The plugin: the files it writes to.
pub struct JsonLog(LogFiles<Json>);

impl Observer for JsonLog {
    /// A directory that was not granted is no mistake yet: each batch is then refused, which says so.
    fn init() -> Result<Self> {
        LogFiles::configured().map(JsonLog)
    }

    fn ingest(&mut self, batch: Batch) -> Result<()> {
        self.0.write(&batch)
    }
}

sochdb_guest::export!(observer: JsonLog);
