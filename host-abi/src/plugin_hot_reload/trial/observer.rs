//! The trial of an observer: the newest batch that the serving version took, and a page.

use super::Trial;
use crate::wasm_host_abi::{NewestBatch, WasmObserver};
use sochdb_kernel::KernelResult;
use sochdb_kernel::plugin::{ObservabilityExtension, TelemetryBatch};

/// What is asked for: whatever there is, the usual text, and JSON.
const ACCEPT: [&str; 3] = ["*/*", "text/plain", "application/json"];

/// Tries the new observer beside the old one, both on an instance that knows only `newest`.
pub(super) fn try_newest(
    trial: &mut Trial,
    newest: Option<NewestBatch>,
    old: &WasmObserver,
    new: &WasmObserver,
) -> KernelResult<()> {
    let tell = |observer: &WasmObserver| match &newest {
        Some(newest) => observer.tell(newest),
        None => observer.ingest(&TelemetryBatch::default()),
    };
    if trial.ask("the newest batch", || tell(old), || tell(new))?.is_none() {
        return Ok(());
    }
    for accept in ACCEPT {
        let what = format!("a page for '{accept}'");
        let pages = trial.ask(&what, || old.render(accept), || new.render(accept))?;
        if let Some((old, new)) = pages
            && old.content_type != new.content_type
        {
            trial
                .differs(format!("{what} is {} instead of {}", new.content_type, old.content_type));
        }
    }
    Ok(())
}
