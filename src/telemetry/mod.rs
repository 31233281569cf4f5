//! What a database says, on its way to the observer plugins and to whoever asks.
//!
//! | file      | what it is                                                              |
//! |-----------|-------------------------------------------------------------------------|
//! | `sources` | what the kernel and its tables have to say, beside what others count    |
//! | `pages`   | what [`serve_metrics`](crate::DatabaseBuilder::serve_metrics) answers    |
//!
//! Nothing here is ever called by a commit. Batches are delivered by threads of their own
//! ([`sochdb_observability::Delivery`]); what an observer does not take is dropped and counted.

mod pages;
mod sources;

pub(crate) use pages::DatabasePages;
pub(crate) use sources::{KernelState, Served};

use crate::on_demand::Plugins;
use sochdb_kernel::plugin::{ObservabilityExtension, Page};
use sochdb_kernel::{Kernel, KernelError, KernelResult, PluginFault};
use sochdb_observability::Telemetry;
use std::sync::Arc;

/// The observer whose text [`metrics_text`](crate::Database::metrics_text) returns.
const RENDERER: &str = "prometheus";

/// The observers of one database.
pub(crate) struct Observers {
    kernel: Kernel,
    plugins: Arc<Plugins>,
    telemetry: Telemetry,
}

impl Observers {
    pub(crate) fn new(kernel: Kernel, plugins: Arc<Plugins>, telemetry: Telemetry) -> Observers {
        Observers { kernel, plugins, telemetry }
    }

    /// Those that batches are delivered to.
    pub(crate) fn listening(&self) -> Vec<Arc<dyn ObservabilityExtension>> {
        let mut observers = self.kernel.plugins().observers();
        observers.retain(|observer| self.plugins.listens(&observer.info().name));
        observers
    }

    /// The metrics as they are now, as the Prometheus plugin writes them.
    pub(crate) fn render(&self, accept: &str) -> KernelResult<Page> {
        // First, so that their own metrics are among those of this batch.
        self.plugins.load()?;
        let observers = self.kernel.plugins().observers();
        let renderer = observers.iter().find(|observer| observer.info().name == RENDERER);
        let missing = || {
            KernelError::plugin(
                RENDERER,
                PluginFault::Missing,
                "no observer of this name is loaded",
            )
        };
        let renderer = renderer.ok_or_else(missing)?;
        renderer.ingest(&self.telemetry.present())?;
        renderer.render(accept)
    }
}
